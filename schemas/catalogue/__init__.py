"""The models, and what each can do."""
