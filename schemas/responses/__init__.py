"""OpenAI's Responses requests: their types, what becomes of each field, and the chat request that they stand for."""
