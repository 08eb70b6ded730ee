"""Owns the history of the tables. Files are named by their revision, and the highest is the newest."""
