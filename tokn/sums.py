"""Owns sums of usage on the command line: by day, key, model and so on, as a table, as CSV, or as JSON lines."""

import csv
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import typer

from schemas.verbs.base import VERSION
from schemas.verbs.sums import PARTS, PERIODS, SUMS, SumsQuery
from tokn import show
from tokn.ledger import Ledger
from tokn.times import utc

SHOWN: Final = ("calls", "prompt_tokens", "completion_tokens", "billed_nano")  # the rest is in CSV and JSON
TABLE_ROWS: Final = 200
OTHERS: Final = "all others"
_PROMPT: Final = ("input", "cached", "cache_write", "cache_write_1h", "input_audio", "cached_audio")
_COMPLETION: Final = ("output", "reasoning", "output_audio")


def moment(text: str, option: str) -> int:
    """A day or an hour in UTC as unix seconds: 2026-11-25, or 2026-11-25T13; 0 for an empty text."""
    if not text:
        return 0
    try:
        found_s = utc(text).timestamp()
    except ValueError:
        why = "give a day or an hour of UTC, as 2026-11-25 or 2026-11-25T13"
        raise typer.BadParameter(why, param_hint=option) from None
    if found_s % 3600:
        raise typer.BadParameter("sums are of whole hours", param_hint=option)
    return int(found_s)


def parts(text: str) -> tuple[str, ...]:
    """What sums are by."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in PERIODS + PARTS:
            raise typer.BadParameter(f"choose from {', '.join(PERIODS + PARTS)}", param_hint="--by")
    return names


def query(by: str, since: str, until: str, key_id: str, organization: str) -> SumsQuery:
    """The question of a command. Raises typer.BadParameter."""
    return SumsQuery(
        VERSION,
        by=parts(by),
        since_s=moment(since, "--since"),
        until_s=moment(until, "--until"),
        key_id=key_id,
        organization=organization,
    )


def _largest(asked: Ledger, request: SumsQuery) -> Iterator[dict[str, Any]]:
    """As many keys as people read, those that were billed most if there are not too many to tell; and all others."""
    reply = asked.ask(SUMS, msgspec.structs.replace(request, limit=TABLE_ROWS, largest=True, rest=True))
    yield from reply.rows
    if reply.cursor and reply.rest is not None:
        yield {"key": OTHERS} | reply.rest


def _rows(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in found:
        prompt = sum(row[f"{name}_tokens"] for name in _PROMPT)
        completion = sum(row[f"{name}_tokens"] for name in _COMPLETION)
        yield {**row, "prompt_tokens": prompt, "completion_tokens": completion}


def print_sums(asked: Ledger, request: SumsQuery, *, as_csv: bool, as_json: bool) -> None:
    """Prints them: amounts of CSV and JSON are nano-dollars. A table of keys has as many as people read."""
    is_table, by_keys = not (as_json or as_csv), "key" in request.by and not request.key_id
    found = _largest(asked, request) if is_table and by_keys else asked.pages(sys.maxsize, request)
    rows = _rows(found)
    if as_json:
        show.json_lines(rows)
    elif as_csv:
        _csv(rows)
    else:
        show.table(rows, (*request.by, *SHOWN), title="Usage", empty="Nothing was used.")


def _csv(rows: Iterator[dict[str, Any]]) -> None:
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
