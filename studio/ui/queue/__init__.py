"""The queue of a tab that makes pictures."""
