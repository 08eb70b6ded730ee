"""Owns what commands print: JSON lines for programs, tables for people."""

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.money.amounts import nano_to_usd

CALL = ("call", "bill")  # what `call` makes of a call
CREDIT = ("credit", "about")  # what `credit` makes of one
ENTRY = ("act", "about")  # what `entry` makes of one
CAP = ("cap", "usd")  # what `tokn cap list` makes of a cap
PAIR = ("what", "about")  # an event, a delivery or a webhook endpoint in two cells that fit a narrow terminal
TRIES = ("attempt", "pool", "account", "upstream", "outcome", "status", "reason", "ours")
_ELSEWHERE = ("hold", "tries", "tokens", "price")  # of a call's story
LISTED_MAX = 20  # of the values in one cell
_encode = msgspec.json.Encoder().encode


def json_lines(rows: Iterable[dict[str, Any]]) -> None:
    """One object a line, nothing else."""
    for row in rows:
        sys.stdout.write(_encode(row).decode() + "\n")
    sys.stdout.flush()


def table(rows: Iterable[dict[str, Any]], columns: tuple[str, ...], *, title: str, empty: str) -> None:
    """Rows for people: amounts in USD, times in UTC. A column `x_nano` is headed `x USD`."""
    from rich.console import Console  # noqa: PLC0415  it is large, and programs never need it
    from rich.table import Table  # noqa: PLC0415  as above

    console = Console()
    drawn = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        show_lines=columns in {CALL, CAP, CREDIT, ENTRY, PAIR},
    )
    for column in columns:
        right = column.endswith(("_nano", "_tokens")) or column in {"workers", "inflight", "capacity"}
        drawn.add_column(_heading(column), justify="right" if right else "left", overflow="fold")
    count = 0
    for row in rows:
        drawn.add_row(*(cell(column, row.get(column)) for column in columns))
        count += 1
    console.print(drawn if count else empty)


def fields(row: dict[str, Any], *, title: str) -> None:
    """One row for people, a field a line."""
    from rich.console import Console  # noqa: PLC0415  as in table
    from rich.table import Table  # noqa: PLC0415  as in table

    drawn = Table(title=title, title_justify="left", show_header=False)
    for column, value in row.items():
        drawn.add_row(_heading(column), cell(column, value))
    Console().print(drawn)


def one(row: dict[str, Any], as_json: bool, title: str, shown: dict[str, Any] | None = None) -> None:
    """One row as a JSON line, or for people, who may be shown other fields of it."""
    if as_json:
        json_lines([row])
    else:
        fields(row if shown is None else shown, title=title)


def many(
    rows: Iterable[dict[str, Any]],
    as_json: bool,
    columns: tuple[str, ...],
    *,
    title: str,
    empty: str,
    shown: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> None:
    """Rows as JSON lines, or as a table for people, who may be `shown` other fields of each."""
    if as_json:
        json_lines(rows)
    else:
        table(rows if shown is None else map(shown, rows), columns, title=title, empty=empty)


def call(row: dict[str, Any]) -> dict[str, Any]:
    """A call in two cells that fit a narrow terminal: which one it was and how it ended; what was used, billed and waited for."""
    attempts = row["attempts"]
    tokens = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in row["tokens"].items() if count)
    ended = f"{row['outcome']}, {row['known']}" + (f", attempt {attempts}" if attempts > 1 else "")
    return {
        "call": "\n".join(
            (row["request_id"], row["key_id"], row["model"], ended, cell("created", row["created"]))
        ),
        "bill": "\n".join(
            (
                f"tokens: {tokens or 'none'}",
                f"list {nano_to_usd(row['list_nano'])} at {row['rate']}",
                f"billed {nano_to_usd(row['billed_nano'])} USD",
                row["price_ref"] or "no price",
                f"ms: queued {row['queued_ms']}, first byte {row['first_byte_ms']}, all {row['duration_ms']}",
            )
        ),
    }


def credit(row: dict[str, Any]) -> dict[str, Any]:
    """A credit in two cells that fit a narrow terminal: which one it is; how much, for whom and why."""
    lines = [f"{nano_to_usd(row['amount_nano'])} USD", row["account"]]
    if row["remaining_nano"] is not None:
        ends = f" until {cell('expires', row['expires'])}" if row["expires"] else ""
        lines.append(f"{nano_to_usd(row['remaining_nano'])} USD left{ends}")
    lines += [str(row[name]) for name in ("call", "reference", "reason") if row[name]]
    return {
        "credit": "\n".join((row["id"], row["kind"], cell("created", row["created"]))),
        "about": "\n".join(lines),
    }


def entry(row: dict[str, Any]) -> dict[str, Any]:
    """An act in two cells that fit a narrow terminal: what was done and when; to what, by whom and why."""
    lines = [row[name] for name in ("target", "actor", "reason") if row[name]]
    return {
        "act": "\n".join((f"{row['number']} {row['action']}", cell("created", row["created"]))),
        "about": "\n".join(lines),
    }


def story(row: dict[str, Any]) -> None:
    """One call for people: what it was and cost, then its tries in order."""
    hold, tries = row["hold"], row["tries"]
    shown = {name: value for name, value in row.items() if name not in _ELSEWHERE}
    shown["hold"] = f"{hold['state']}, {nano_to_usd(hold['amount_nano'])} USD, limit {hold['limit']}"
    fields(shown, title="Call")
    table(tries, TRIES, title="Tries", empty="No upstream was asked.")


def _heading(column: str) -> str:
    if column.endswith("_nano"):
        return column.removesuffix("_nano").replace("_", " ") + " USD"
    return column.removesuffix("_tokens").replace("_", " ")


def cell(column: str, value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return "all" if column == "providers" else "-"
    if column.endswith("_nano"):
        return nano_to_usd(value)
    if column in ("created", "until", "expires") and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict):
        return (
            ", ".join(f"{name.replace('_', ' ')} {one}" for name, one in value.items() if one is not None)
            or "-"
        )
    if isinstance(value, list | tuple):
        rest = len(value) - LISTED_MAX
        shown = ", ".join(str(one) for one in value[:LISTED_MAX])
        return f"{shown} and {rest} more" if rest > 0 else shown
    return str(value)
