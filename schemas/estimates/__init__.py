"""Owns how many tokens a text likely has, without a tokenizer: for what a provider has not counted."""
