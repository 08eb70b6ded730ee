"""Owns how new a configuration is: a number that its file gives it, else the moment when the file last changed."""

from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from runtime.toml import Table


class Generation(Struct, frozen=True, order=True):
    """Compares by `number` (0: none is given), then by `changed_ms` (Unix; 0: there is no file)."""

    number: int = 0
    changed_ms: int = 0

    @property
    def known(self) -> bool:
        """Whether it can be compared at all."""
        return self != _UNKNOWN

    @property
    def told(self) -> str:
        """For people."""
        moment = datetime.fromtimestamp(self.changed_ms / 1000, UTC).isoformat(timespec="seconds")
        return f"generation {self.number}, changed at {moment}" if self.number else f"changed at {moment}"


_UNKNOWN = Generation()


def changed_ms(config: Path | None) -> int:
    """When a file last changed; 0 for none. To be asked before it is read: what changes then is newer still."""
    try:
        return 0 if config is None else config.stat().st_mtime_ns // 1_000_000
    except OSError:  # whoever reads it says why
        return 0


def read_generation(reload: Table, changed: int) -> Generation:
    """The generation of a file that was changed at this moment, by its table `[reload]`. Raises SettingsError."""
    return Generation(reload.integer("generation", 0) or 0, changed)
