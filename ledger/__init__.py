"""Owns the books: keys, balances, holds, settlement, prices, audit."""
