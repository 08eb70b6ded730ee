"""Owns the HTTP surface: authentication, admission, relaying frames, errors, the model list."""
