"""The sheet of a picture's settings."""
