"""Owns how many abandoned answers a worker reads on at once: a few of each key, and a small share of its room."""

from collections import Counter

KEY_DRAINS_MAX = 4  # of one key, all pools of a worker together
DRAINS_SHARE = 0.05  # of the calls that a pool of a worker takes at once; one at least


class Drains:
    """Those of one pool. `keys` counts those of each key, by its scope, and is shared by all pools of a worker."""

    def __init__(self, capacity: int = 0, keys: Counter[str] | None = None) -> None:
        self.resize(capacity)
        self._keys: Counter[str] = Counter() if keys is None else keys
        self.count = 0

    def resize(self, capacity: int) -> None:
        """The pool takes so many calls at once from now on."""
        self._most = max(1, int(capacity * DRAINS_SHARE))

    def begin(self, scope: str) -> bool:
        """Takes a place for an answer of this key; False if there is none."""
        if self.count >= self._most or self._keys[scope] >= KEY_DRAINS_MAX:
            return False
        self.count += 1
        self._keys[scope] += 1
        return True

    def end(self, scope: str) -> None:
        """Gives a place back."""
        self.count -= 1
        self._keys[scope] -= 1
        if not self._keys[scope]:
            del self._keys[scope]
