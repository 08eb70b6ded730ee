"""Owns the SQL of the tables: rendered by Alembic for either database, from any revision to the newest."""

import asyncio
import io
import sys
from pathlib import Path

from runtime.settings.settings import SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"
EMPTY = "base"
_RENDER_TIMEOUT_S = 60.0


def _revisions() -> list[str]:
    # Read from the file names, so that a service that is up to date never imports Alembic.
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def head() -> str:
    """The newest revision."""
    return _revisions()[-1]


def render(dialect: str = "postgresql", start: str = EMPTY) -> str:
    """SQL that takes a database from a revision to the newest, without a transaction around it."""
    from alembic import command  # noqa: PLC0415  only a database that is behind needs it
    from alembic.config import Config  # noqa: PLC0415  as above

    output = io.StringIO()
    config = Config(output_buffer=output, stdout=io.StringIO(), attributes={"dialect": dialect})
    config.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(config, f"{start}:head" if start != EMPTY else "head", sql=True)
    return output.getvalue()


async def render_apart(dialect: str, start: str) -> str:
    """`render` in a process of its own, so that a long-lived ledger does not keep Alembic in memory.

    Raises SettingsError for a revision that only a newer version of tokn knows.
    """
    if start != EMPTY and start not in _revisions():
        raise SettingsError(
            f"[ledger] database_url: the tables are at revision {start}, of a newer tokn; this one knows {head()}: upgrade it"
        )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ledger.store.migrate",
        dialect,
        start,
        cwd=str(MIGRATIONS.parents[2]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_RENDER_TIMEOUT_S):
            output, problem = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"cannot render the migrations: {problem.decode(errors='replace')[-2000:]}")
    return output.decode()


if __name__ == "__main__":
    sys.stdout.write(render(*sys.argv[1:]))
