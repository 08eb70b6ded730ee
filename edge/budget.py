"""Owns how many bytes all callers together may have in memory."""


class Budget:
    """Bytes of request bodies and plain answers."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.used = 0

    def take(self, count: int) -> bool:
        """Reserves so many bytes; False if they do not fit."""
        if self.used + count > self._bytes_max:
            return False
        self.used += count
        return True

    def give_back(self, count: int) -> None:
        """Frees what was reserved."""
        self.used -= count
