"""Exports of the books: pages of what was booked before one moment, whatever is committed meanwhile."""
