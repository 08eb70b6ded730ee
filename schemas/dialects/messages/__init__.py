"""Anthropic's Messages requests: their types, what is priced and dropped, and how they become chat requests."""
