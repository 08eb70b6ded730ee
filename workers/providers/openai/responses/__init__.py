"""Responses as OpenAI speaks them itself: a pass-through of what the caller may ask for."""
