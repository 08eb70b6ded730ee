"""Webhooks: events from the stream EVENTS, sent to whoever asked for them, signed, and tried again."""
