"""Owns charts: whatever they draw is in their table too, names are text, and no number is a float."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.charts import HEIGHT, POINTS_MAX, REST, SERIES_MAX, WIDTH, Series, bars, spark, stacked
from web.figures import count, usd
from web.latency import SPANS_MAX, Span, latency

SCRIPT = '"><script>alert(1)</script>'
VALUES = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40)


def parsed(markup):
    return ET.fromstring(str(markup))


def cells(markup):
    return ["".join(cell.itertext()) for cell in parsed(markup).iter("td")]


def names(count_):
    return [f"n{number}" for number in range(count_)]


@given(VALUES)
def test_the_table_says_what_the_bars_say(values):
    """Every bar has its figure, exact, however large."""
    drawn = bars("spent", names(len(values)), values, usd)
    assert cells(drawn) == [usd(value) for value in values]
    assert len(list(parsed(drawn).find("svg").iter("rect"))) == len(values)


@given(VALUES)
def test_a_drawing_stays_within_its_frame(values):
    """No bar begins before the frame or ends beyond it, and the parts of one stand on one another."""
    split = [Series("a", tuple(values)), Series("b", tuple(reversed(values)))]
    for drawn in (bars("x", names(len(values)), values), stacked("x", names(len(values)), split)):
        for rect in parsed(drawn).find("svg").iter("rect"):
            x, y, width, height = (int(rect.get(name)) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + width <= WIDTH + 1
            assert 0 <= y <= y + height <= HEIGHT


def test_negative_bars_hang_below_the_line():
    """A loss is drawn below the zero that a gain stands on."""
    up, down = parsed(bars("margin", ["a", "b"], [100, -100])).find("svg").iter("rect")
    assert int(up.get("y")) + int(up.get("height")) == int(down.get("y")) == HEIGHT // 2


def test_small_series_become_one():
    """No more colours than can be told apart, and the sum of each label stays."""
    series = [Series(f"m{number}", (number, 1)) for number in range(20)]
    drawn = stacked("calls", ["a", "b"], series)
    heads = ["".join(head.itertext()) for head in parsed(drawn).find(".//thead/tr")]
    assert len(heads) == SERIES_MAX + 2
    assert heads[-2:] == [REST, "all"]
    sums = [row[-1] for row in parsed(drawn).iter("tr")]
    assert [cell.text for cell in sums[1:]] == [count(sum(range(20))), "20"]


@pytest.mark.parametrize(
    "drawn",
    [
        bars(SCRIPT, [SCRIPT], [1]),
        stacked(SCRIPT, [SCRIPT], [Series(SCRIPT, (1,))]),
        spark(SCRIPT, [SCRIPT], [1]),
        latency(SCRIPT, [Span(SCRIPT, 0, 5, note=SCRIPT)]),
    ],
    ids=["bars", "stacked", "spark", "latency"],
)
def test_names_are_text_and_nothing_is_styled_inline(drawn):
    """What stands in a name or a title is shown as it is, and the pages' policy is kept."""
    assert "<script" not in drawn
    assert not re.search(r"\bstyle=|\bon\w+=", drawn)
    assert SCRIPT in "".join(parsed(drawn).itertext())


@pytest.mark.parametrize(
    "drawn", [bars("x", [], []), stacked("x", [], []), spark("x", [], []), latency("x", [])]
)
def test_nothing_can_be_drawn(drawn):
    """Without a value there is a frame and an empty table, and no error."""
    assert parsed(drawn).find(".//table") is not None


def test_what_cannot_be_drawn_is_refused():
    """Labels without values, parts below zero, and more points than a screen has."""
    with pytest.raises(ValueError, match="1 labels and 2 values"):
        bars("x", ["a"], [1, 2])
    with pytest.raises(ValueError, match="negative"):
        stacked("x", ["a"], [Series("s", (-1,))])
    with pytest.raises(ValueError, match="points"):
        spark("x", names(POINTS_MAX + 1), [0] * (POINTS_MAX + 1))


def test_a_timeline_has_one_scale():
    """Spans lie where their times are, and each has its figures; beyond the limit there are none."""
    drawn = latency("call", [Span("queued", 0, 250, "wait"), Span("answer", 250, 1_000)])
    first, second = (line.findall("svg/rect")[1] for line in parsed(drawn).iter("li"))
    assert (first.get("x"), first.get("width"), first.get("class")) == ("0", "250", "wait")
    assert (second.get("x"), second.get("width")) == ("250", "750")
    assert cells(drawn)[:4] == ["0 ms", "250 ms", "250 ms", ""]
    assert latency("many", [Span("s", 0, 1)] * 100).count("<li>") == SPANS_MAX
