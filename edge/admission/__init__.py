"""The checks before a call."""
