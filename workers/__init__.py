"""Owns the pools: accounts, upstream calls, provider families, usage events."""
