"""Prices in force, and what usage costs."""
