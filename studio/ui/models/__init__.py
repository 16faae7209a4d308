"""The tab Models and its endpoints."""
