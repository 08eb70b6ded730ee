"""Answers without an upstream."""
