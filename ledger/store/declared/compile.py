"""Owns `make sql`: the declared reads and the migrations as plain SQL, in files that ledgers run."""

import io
import json
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from ledger.store.declared.selects import compiled
from ledger.store.migrate import DIALECTS, EMPTY, FOLDER
from ledger.store.queries import COMPILED

MIGRATIONS = Path(__file__).parent / "migrations"


def steps() -> list[tuple[str, str]]:
    """Each revision with the one before it, oldest first."""
    found = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    return [(str(one.down_revision or EMPTY), one.revision) for one in found][::-1]


def step_sql(dialect: str, start: str, end: str) -> str:
    """SQL that takes tables from one revision to another, without a transaction around it."""
    output = io.StringIO()
    config = Config(output_buffer=output, stdout=io.StringIO(), attributes={"dialect": dialect})
    config.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(config, f"{start}:{end}", sql=True)
    return "\n".join(line.rstrip() for line in output.getvalue().strip().splitlines()) + "\n"


def files() -> dict[Path, str]:
    """Every compiled file with its content."""
    made = {COMPILED: json.dumps(compiled(), indent=2) + "\n"}
    for dialect in DIALECTS:
        for start, end in steps():
            made[FOLDER / dialect / f"{end}.sql"] = step_sql(dialect, start, end)
    return made


def main() -> None:
    """Writes them."""
    for path, content in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        sys.stdout.write(f"{path.relative_to(FOLDER)}\n")


if __name__ == "__main__":
    main()
