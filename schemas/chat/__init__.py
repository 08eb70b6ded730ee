"""OpenAI's chat and completion requests: their types, their bound, what is refused."""
