"""Owns what every service stands on: settings, the guarded bus connection, logging, metrics, a service's life."""
