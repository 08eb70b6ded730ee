"""What the bytes of inline media say of themselves."""
