"""Owns the page of usage: sums by what people choose, in the address, as a chart, a table and CSV, equal to the books."""

import csv
import io
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Struct
from starlette.responses import Response

from console.pages.moments import day_s
from console.pages.site import PageRow
from console.pages.sums import days, hours, page_of, series, short, sums, total
from console.pages.visit import FormError, Visit
from schemas.admin.reads import EXPORT, USAGE
from schemas.verbs.base import Rows
from schemas.verbs.exports import CALLS, FOCUS
from schemas.verbs.sums import PARTS, ROWS_MAX
from web.charts import POINTS_MAX, stacked
from web.figures import count, usd_about

EXPORT_ROWS_MAX: Final = 50_000
MANY: Final = ("key", "organization")  # of which there may be any number
MANY_MAX: Final = 100  # of a page
AFTER_DIGITS: Final = 10
PERIODS: Final = (("", "No period"), ("hour", "Hour"), ("day", "Day"), ("month", "Month"))
GROUPS: Final = (("", "Nothing"), *((part, part.capitalize()) for part in PARTS))
_FILES: Final = ((CALLS, "Calls"), (FOCUS, "FOCUS"))
FIGURES: Final = (("billed_nano", "Billed"), ("calls", "Calls"), ("tokens", "Tokens"))
_NAMES: Final = ("from", "to", "period", "by", "key", "organization", "model", "figure")
_HOURS_MAX: Final = 72  # more hours than that are days
_MONEY: Final = ("list_nano", "billed_nano", "refunded_nano", "uncollected_nano", "cost_nano")
# Columns of the table, and the classes of tokens that each is the sum of.
_TOKENS: Final = {
    "prompt": ("input", "cached", "cache_write", "cache_write_long", "input_audio", "cached_audio"),
    "cached": ("cached", "cached_audio"),
    "completion": ("output", "reasoning", "output_audio"),
}


class Asked(Struct, frozen=True):
    """What the address asks for; `by` is what a ledger sums by."""

    since_s: int
    until_s: int
    by: tuple[str, ...]
    figure: str
    filters: dict[str, str]

    @property
    def span(self) -> dict[str, Any]:
        """The time and the filters, as sums are asked for."""
        return {"since_s": self.since_s, "until_s": self.until_s, **self.filters}


def asked_of(query: Mapping[str, str], now_s: int) -> tuple[dict[str, str], Asked]:
    """What the form shows, and what that means. Raises FormError."""
    shown = {name: query.get(name, "").strip()[:200] for name in _NAMES}
    today = datetime.fromtimestamp(now_s, UTC)
    if not any(query.get(name) for name in ("from", "to")):
        shown["from"] = (today - timedelta(days=29)).strftime("%Y-%m-%d")
        shown["to"] = today.strftime("%Y-%m-%d")
    if "period" not in query:
        shown["period"] = "day"
    period = shown["period"] if shown["period"] in dict(PERIODS) else "day"
    part = shown["by"] if shown["by"] in PARTS else ""
    figure = shown["figure"] if shown["figure"] in dict(FIGURES) else "billed_nano"
    shown |= {"period": period, "by": part, "figure": figure}
    filters = {"key_id": shown["key"], "organization": shown["organization"], "model": shown["model"]}
    since_s, until_s = day_s(shown["from"], field="from"), day_s(shown["to"], after=1, field="to")
    return shown, Asked(since_s, until_s, tuple(one for one in (period, part) if one), figure, filters)


async def show(visit: Visit) -> Response:
    """The page."""
    try:
        shown, asked = asked_of(visit.query, int(time.time()))
        errors: dict[str, str] = {}
    except FormError as error:
        shown, asked = asked_of({}, int(time.time()))
        shown, errors = {name: visit.query.get(name, "") for name in _NAMES}, error.errors
    after = visit.query.get("after", "")
    place = int(after) if after.isascii() and after.isdecimal() and len(after) < AFTER_DIGITS else after or 0
    limit = MANY_MAX if shown["by"] in MANY else ROWS_MAX
    found = await page_of(visit, asked.by, limit=limit, after=place, **asked.span)
    chart = await _charted(visit, asked, shown, found if not after else None)
    rows = list(map(_flat, found.rows))
    rest = _flat(found.rest) if found.rest else None
    totals = [*rows, rest] if rest else rows
    kept = {name: value for name, value in shown.items() if value or name == "period"}  # none is no day
    return visit.page(
        "usage.html",
        modules=("filter.js",),
        rows=rows,
        rest=rest if after or found.cursor else None,
        walked=isinstance(found.cursor or place, str) and not shown["period"],
        asked=shown,
        part=shown["by"],
        chart=chart,
        periods=PERIODS,
        groups=GROUPS,
        figures=FIGURES,
        totals={name: total(totals, name) for name in ("calls", "failed", "tokens", *_TOKENS, *_MONEY)},
        files=_files(visit, shown),
        csv="/usage.csv?" + urlencode(kept),
        following=f"/usage?{urlencode({**kept, 'after': found.cursor})}" if found.cursor else "",
        first=f"/usage?{urlencode(kept)}" if after else "",
        errors=errors,
    )


def _files(visit: Visit, shown: dict[str, str]) -> list[tuple[str, str]]:
    """Where the calls of these days are as files; nothing where only a key's or a model's are meant, which no file is of."""
    if not visit.person.may(EXPORT.scope) or shown["key"] or shown["model"]:
        return []
    asked = urlencode({name: shown[name] for name in ("from", "to", "organization") if shown[name]})
    return [(f"/exports/{name}.csv?{asked}", told) for name, told in _FILES]


async def _charted(visit: Visit, asked: Asked, shown: dict[str, str], page: Rows | None) -> str:
    """The sums over time: by part, if the page has all of them."""
    if not shown["period"]:
        return ""
    if page is not None and not page.cursor:
        return _chart(list(map(_flat, page.rows)), asked, shown)
    figures = () if asked.figure == "tokens" else (asked.figure,)
    rows = await sums(visit, (shown["period"],), figures=figures, **asked.span)
    return _chart(list(map(_flat, rows)), asked, shown | {"by": ""})


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its tokens by the columns of the table."""
    told = row | {name: _tokens(row, name) for name in _TOKENS}
    return told | {"tokens": told["prompt"] + told["completion"]}


def _tokens(row: dict[str, Any], name: str) -> int:
    """Tokens of a column of the table."""
    tokens: dict[str, int] = row["tokens"]
    return sum(tokens.get(kind, 0) for kind in _TOKENS[name])


def _chart(rows: list[dict[str, Any]], asked: Asked, shown: dict[str, str]) -> str:
    """The sums over time; nothing without a period, or with more moments than a chart can have."""
    period = shown["period"]
    if not rows or not period:
        return ""
    starts = sorted({str(row["start"]) for row in rows})
    names = starts
    if period == "day":
        first, last = (datetime.fromtimestamp(at, UTC) for at in (asked.since_s, max(asked.until_s - 1, 0)))
        names = days(first, last) if asked.since_s and asked.until_s > asked.since_s else starts
    elif period == "hour" and asked.until_s - asked.since_s <= _HOURS_MAX * 3_600:
        names = hours(asked.until_s - 1, (asked.until_s - asked.since_s) // 3_600)[1]
    if len(names) > POINTS_MAX:
        return ""
    title = f"{dict(FIGURES)[asked.figure]} by {period}" + (f" and {shown['by']}" if shown["by"] else "")
    told = usd_about if asked.figure.endswith("_nano") else count
    return stacked(
        title, [short(name) for name in names], series(rows, names, shown["by"], asked.figure), told
    )


async def export(visit: Visit) -> Response:
    """The same sums as CSV: amounts in nano-dollars, and every class of tokens."""
    _, asked = asked_of(visit.query, int(time.time()))
    rows = await sums(visit, asked.by, most=EXPORT_ROWS_MAX + 1, **asked.span)
    if len(rows) > EXPORT_ROWS_MAX:
        raise FormError("", f"There are more than {EXPORT_ROWS_MAX:,} rows: ask for fewer days at once.")
    told = io.StringIO()
    parts = ["start" if name in dict(PERIODS) else name for name in asked.by]
    classes = list(rows[0]["tokens"]) if rows else []
    sheet = csv.writer(told, lineterminator="\n")
    sheet.writerow([*parts, "calls", "failed", "cancelled", *(f"{one}_tokens" for one in classes), *_MONEY])
    for row in rows:
        figures = [row["calls"], row["failed"], row["cancelled"], *row["tokens"].values()]
        sheet.writerow([*(_plain(row[name]) for name in parts), *figures, *(row[name] for name in _MONEY)])
    headers = {"content-disposition": 'attachment; filename="usage.csv"'}
    return Response(told.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _plain(value: object) -> str:
    """A name that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


ROWS = (
    PageRow(path="/usage", show=show, needs=USAGE.scope),
    PageRow(path="/usage.csv", show=export, needs=USAGE.scope),
)
