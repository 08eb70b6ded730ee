"""Sums of usage by hour, day and organisation: how rows get into them, and how they follow corrections."""
