"""What a request for embeddings asks for, and what it can cost."""
