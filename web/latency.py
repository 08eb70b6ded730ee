"""Owns the timeline of one call: what took how long, from when to when, as bars beside their names, and as a table."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from web.charts import figures
from web.figures import milliseconds

SPANS_MAX: Final = 64
WIDTH: Final = 1_000


class Span(Struct, frozen=True):
    """From `start_ms` to `end_ms` of the call. `kind` colours it: `wait`, `good`, `bad`, `mark`."""

    name: str
    start_ms: int
    end_ms: int
    kind: str = "good"
    note: str = ""


def latency(title: str, spans: Sequence[Span]) -> Markup:
    """The spans one below another on one scale; those beyond the limit are left out of the drawing and of the table."""
    spans = spans[:SPANS_MAX]
    whole = max((one.end_ms for one in spans), default=0) or 1
    lines = Markup("").join(_line(one, whole) for one in spans)
    rows = [
        (one.name, (milliseconds(one.start_ms), milliseconds(one.end_ms), _took(one), one.note))
        for one in spans
    ]
    return Markup('<figure class="chart latency"><figcaption>{}</figcaption><ol>{}</ol>{}</figure>').format(
        title, lines, figures(title, ("from", "to", "took", "note"), rows)
    )


def _took(span: Span) -> str:
    return milliseconds(max(span.end_ms - span.start_ms, 0))


def _line(span: Span, whole: int) -> Markup:
    left = WIDTH * max(span.start_ms, 0) // whole
    width = max(WIDTH * span.end_ms // whole - left, 6)
    return Markup(
        '<li><span>{}</span><svg viewBox="0 0 {} 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="{}" height="12"/><rect class="{}" x="{}" width="{}" height="12"/></svg>'
        '<span class="num">{}</span></li>'
    ).format(span.name, WIDTH, WIDTH, span.kind, min(left, WIDTH - 6), width, _took(span))
