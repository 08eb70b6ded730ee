"""One commit: what it loads, what it saves, and who runs it."""
