"""Usage events from JetStream, and the position in it."""
