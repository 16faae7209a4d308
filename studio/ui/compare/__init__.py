"""The tab Compare and its endpoint."""
