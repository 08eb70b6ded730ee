"""Owns the SQL of the tables, from any revision to the newest: a file for each step, which Alembic rendered ahead of time."""

from pathlib import Path

from runtime.settings.settings import SettingsError

FOLDER = Path(__file__).parent / "sql"
DIALECTS = ("sqlite", "postgresql")
EMPTY = "base"
# What this ledger tells the database that it knows. It grows with what an older ledger, beside it, would break.
KNOWN_REVISION = 6


def revisions(dialect: str = DIALECTS[0]) -> list[str]:
    """All revisions, oldest first."""
    return sorted(path.stem for path in (FOLDER / dialect).glob("[0-9]*.sql"))


def head() -> str:
    """The newest revision."""
    return revisions()[-1]


def script(dialect: str, start: str = EMPTY) -> str:
    """SQL that takes a database from a revision to the newest, without a transaction around it.

    Raises SettingsError for a revision that only a newer version of tokn knows.
    """
    known = revisions(dialect)
    if start != EMPTY and start not in known:
        raise SettingsError(
            f"[ledger] database_url: the tables are at revision {start}, of a newer tokn; this one knows {head()}: upgrade it"
        )
    later = known[known.index(start) + 1 :] if start != EMPTY else known
    return "\n".join((FOLDER / dialect / f"{one}.sql").read_text() for one in later)
