"""Owns the contract: messages and values that every service shares. No I/O, only msgspec and the standard library."""
