"""Owns secrets in a file: a value may be the name of a variable or of a file that holds it."""

from collections.abc import Mapping
from pathlib import Path

from runtime.toml import Table

_SECRET_BYTES_MAX = 64 * 1024


class Secrets:
    """Resolves `env:NAME`, `file:PATH` (from the file's own folder) or the value itself."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self._variables = variables
        self._folder = folder.absolute()
        self.files: dict[str, None] = {}  # those that were read, in order

    def resolve(self, table: Table, key: str) -> str:
        """The value behind a key, empty if the key is not there. Raises SettingsError."""
        return self._value(table, key, table.text(key))

    def resolve_all(self, table: Table, key: str) -> tuple[str, ...]:
        """The values behind a key that has one or a list of them; none if the key is not there. Raises SettingsError."""
        texts = (table.texts(key) or ()) if table.lists(key) else (table.text(key),)
        return tuple(value for text in texts if (value := self._value(table, key, text)))

    def _value(self, table: Table, key: str, text: str) -> str:
        if text.startswith("env:"):
            value = self._variables.get(text[4:])
            if value is None:
                raise table.problem(key, f"the environment variable {text[4:]} is not set")
            return value
        if text.startswith("file:"):
            path = self._folder / text[5:]
            self.files[str(path)] = None
            try:
                return read_secret(path)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not text"
                raise table.problem(key, f"the file {text[5:]} cannot be read: {why}") from None
        return text

    def file(self, table: Table, key: str) -> str:
        """The absolute path of the file that holds a value, before it is resolved; empty if none does."""
        text = table.peek(key)
        return str(self._folder / text[5:]) if text.startswith("file:") else ""


def read_secret(path: Path) -> str:
    """The secret in a file. Raises OSError, or ValueError for what is no text."""
    with path.open("rb") as file:
        return file.read(_SECRET_BYTES_MAX).decode().strip()


def unread(table: Table, key: str) -> str:
    """Passes over a secret that this service has no use for: it may be there, and it is somebody else's."""
    table.text(key)
    return ""


def all_unread(table: Table, key: str) -> tuple[str, ...]:
    """The same for one that may be a list."""
    if table.lists(key):
        table.texts(key)
    else:
        table.text(key)
    return ()
