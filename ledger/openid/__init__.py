"""Signing in by an OpenID provider: its keys, its ID tokens, and the nonces that make each good once."""
