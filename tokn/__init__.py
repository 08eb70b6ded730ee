"""Owns the command and the supervisor behind `tokn up`."""
