"""How answers look to callers: one module for each dialect."""
