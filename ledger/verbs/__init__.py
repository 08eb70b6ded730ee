"""What comes in on `ledger.<verb>`, and its answer."""
