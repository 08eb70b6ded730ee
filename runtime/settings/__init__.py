"""Configuration: the file, the environment, and the frozen settings of a service."""
