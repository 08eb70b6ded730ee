"""Owns the revisions, in order."""
