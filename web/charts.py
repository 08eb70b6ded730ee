"""Owns charts over time or by name: drawn here as SVG that scales to any width, each with its figures as a table.

The drawing has no text, which would shrink with it: names and figures stand around it as HTML. It has no style of its
own either, since pages forbid that: colours are classes of the style sheet.
"""

from collections.abc import Callable, Sequence
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from web.figures import count

POINTS_MAX: Final = 400  # a month of hours would be too fine for any screen
SERIES_MAX: Final = 8  # colours that can be told apart; the smallest series become one
WIDTH: Final = 600
HEIGHT: Final = 160
BAR_WIDTH_MAX: Final = 48  # of a few bars, which would be blocks
REST: Final = "other"

Shown = Callable[[int], str]


class Series(Struct, frozen=True):
    """One name with a value at each label."""

    name: str
    values: tuple[int, ...]


def bars(title: str, labels: Sequence[str], values: Sequence[int], shown: Shown = count) -> Markup:
    """One bar a label, below the line where a value is negative. Raises ValueError for labels without their values."""
    _check(labels, values)
    scale = _Scale(len(values), max((*values, 1)), min((*values, 0)))
    drawn = Markup("").join(
        scale.rect(number, (min(value, 0), max(value, 0)), 0, f"{label}: {shown(value)}")
        for number, (label, value) in enumerate(zip(labels, values, strict=True))
    )
    rows = [(label, (shown(value),)) for label, value in zip(labels, values, strict=True)]
    peak = shown(max(values, default=0))
    return _figure(title, labels, drawn, peak=peak, legend=(), heads=("",), rows=rows)


def stacked(title: str, labels: Sequence[str], series: Sequence[Series], shown: Shown = count) -> Markup:
    """One bar a label, of a part for each series. Raises ValueError for negative values and for labels without values."""
    for one in series:
        _check(labels, one.values)
        if min(one.values, default=0) < 0:
            raise ValueError(f"{one.name} has a negative value, which cannot be stacked")
    series = _largest(series)
    sums = [sum(one.values[number] for one in series) for number in range(len(labels))]
    scale, drawn = _Scale(len(labels), max((*sums, 1))), []
    for number, label in enumerate(labels):
        below = 0
        for colour, one in enumerate(series):
            value = one.values[number]
            if value:
                told = f"{label}, {one.name}: {shown(value)}"
                drawn.append(scale.rect(number, (below, below + value), colour, told))
            below += value
    names = tuple(one.name for one in series)
    rows = [
        (label, (*(shown(one.values[number]) for one in series), shown(sums[number])))
        for number, label in enumerate(labels)
    ]
    peak = shown(max(sums, default=0))
    every = Markup("").join(drawn)
    return _figure(title, labels, every, peak=peak, legend=names, heads=(*names, "all"), rows=rows)


def spark(title: str, labels: Sequence[str], values: Sequence[int], shown: Shown = count) -> Markup:
    """A small line for a tile. Raises ValueError for labels without their values."""
    _check(labels, values)
    top, steps = max((*values, 1)), max(len(values) - 1, 1)
    line = " ".join(
        f"{WIDTH * number // steps},{40 - 38 * max(value, 0) // top}" for number, value in enumerate(values)
    )
    rows = [(label, (shown(value),)) for label, value in zip(labels, values, strict=True)]
    return Markup(
        '<figure class="chart spark"><svg viewBox="0 0 {} 42" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline points="{}"/></svg>{}</figure>'
    ).format(WIDTH, _told(title, labels, shown(max(values, default=0))), line, figures(title, ("",), rows))


def figures(title: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Markup:
    """What a chart shows, as a table that is closed until somebody wants it."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name or "value") for name in heads)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            label, Markup("").join(Markup('<td class="num">{}</td>').format(cell) for cell in cells)
        )
        for label, cells in rows
    )
    return Markup(
        '<details class="figures-of"><summary>Figures<span class="sr">: {0}</span></summary>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Figures: {0}"><table><caption class="sr">{0}</caption>'
        '<thead><tr><th scope="col">of</th>{1}</tr></thead><tbody>{2}</tbody></table></div></details>'
    ).format(title, head, body)


def _check(labels: Sequence[str], values: Sequence[int]) -> None:
    if len(labels) != len(values):
        raise ValueError(f"{len(labels)} labels and {len(values)} values")
    if len(labels) > POINTS_MAX:
        raise ValueError(f"more than {POINTS_MAX} points")


def _largest(series: Sequence[Series]) -> list[Series]:
    if len(series) <= SERIES_MAX:
        return list(series)
    by_size = sorted(series, key=lambda one: -sum(one.values))
    kept, small = by_size[: SERIES_MAX - 1], by_size[SERIES_MAX - 1 :]
    rest = tuple(sum(values) for values in zip(*(one.values for one in small), strict=True))
    return [*kept, Series(REST, rest)]


class _Scale(Struct, frozen=True):
    """How many places there are, and what the upper and the lower edge stand for."""

    places: int
    top: int
    bottom: int = 0

    def rect(self, place: int, part: tuple[int, int], colour: int, told: str) -> Markup:
        """From one value up to another, in one place. Integers alone: nano-dollars have more digits than a float."""
        low, high = part
        span = self.top - self.bottom
        left, right = WIDTH * place // self.places, WIDTH * (place + 1) // self.places
        gap = max(1 if right - left > 3 else 0, (right - left - BAR_WIDTH_MAX) // 2)
        upper, lower = HEIGHT * (self.top - high) // span, -(-HEIGHT * (self.top - low) // span)
        return Markup(
            '<rect class="s{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
        ).format(colour, left + gap, upper, max(right - left - 2 * gap, 1), lower - upper, told)


def _told(title: str, labels: Sequence[str], peak: str) -> str:
    if not labels:
        return f"{title}: nothing"
    return f"{title}, {labels[0]} to {labels[-1]}, at most {peak}"


def _figure(
    title: str,
    labels: Sequence[str],
    drawn: Markup,
    *,
    peak: str,
    legend: Sequence[str],
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
) -> Markup:
    names = Markup("").join(
        Markup(
            '<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="s{}" width="10" height="10"/></svg>{}</li>'
        ).format(colour, name)
        for colour, name in enumerate(legend)
    )
    return Markup(
        '<figure class="chart"><figcaption><span>{title}</span><span class="peak">peak {peak}</span></figcaption>'
        '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{told}">'
        '<path class="grid" d="M0 0.5H{width}M0 {half}H{width}M0 {low}H{width}"/>{drawn}</svg>'
        '<div class="axis" aria-hidden="true"><span>{first}</span><span>{last}</span></div>{legend}{table}</figure>'
    ).format(
        title=title,
        peak=peak,
        width=WIDTH,
        height=HEIGHT,
        half=HEIGHT // 2,
        low=HEIGHT - 1,
        told=_told(title, labels, peak),
        drawn=drawn,
        first=labels[0] if labels else "",
        last=labels[-1] if len(labels) > 1 else "",
        legend=Markup('<ul class="legend">{}</ul>').format(names) if legend else "",
        table=figures(title, heads, rows),
    )
