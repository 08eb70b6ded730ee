"""The catalogue as data: the vendors that a pool may name."""
