"""Owns the report: what a person should see of a generated catalogue."""

from collections import Counter
from collections.abc import Iterator, Mapping

from tools.catalogue.build import Built
from tools.catalogue.gone import KEPT
from tools.catalogue.inputs import Lock


def report(built: Built, lock: Lock, accepted: Mapping[str, str]) -> Iterator[str]:
    """Its lines."""
    yield f"As of {lock.as_of}: {len(built.rows)} models, {sum(len(row.prices) for row in built.rows)} price rows"
    yield from (f"  {source.name} {source.version} ({source.licence})" for source in lock.sources)
    presets = Counter(row.preset for row in built.rows)
    live = Counter(row.preset for row in built.rows if row.shutdown is None or row.shutdown > lock.as_of)
    for preset, count in sorted(presets.items()):
        verdicts = Counter(row.sources for row in built.rows if row.preset == preset)
        said = ", ".join(f"{number} {how}" for how, number in sorted(verdicts.items()))
        yield f"  {preset}: {count} models, {live[preset]} of them not past a shutdown; {said}"
    yield f"Disagreements, of which the higher price is sold: {len(built.disagreements)}"
    yield from _disagreements(built.disagreements, accepted)
    yield f"Windows that differ: {len(built.windows)}"
    yield from (f"  {line}" for line in built.windows)
    kept = [f"{row.preset}/{row.id}" for row in built.rows if row.sources == KEPT]
    yield f"Kept as they were last, because no source has them any more: {len(kept)}"
    yield from (f"  {model}" for model in kept)
    yield "Only in genai-prices, so not sold:"
    yield from (f"  {line}" for line in built.only_genai)
    yield "Left out:"
    yield from (f"  {count} {reason}" for reason, count in built.left_out.items())


def _disagreements(lines: tuple[str, ...], accepted: Mapping[str, str]) -> Iterator[str]:
    """Each, under the reason why it is accepted."""
    for why in dict.fromkeys(("", *accepted.values())):
        found = [line for line in lines if accepted.get(line, "") == why]
        if found:
            yield f"  {why or 'NOT ACCEPTED'}"
            yield from (f"    {line}" for line in found)
