"""Amounts and prices: exact decimals, integer nano-dollars."""
