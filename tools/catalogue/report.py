"""Owns the report: what a person should see of a generated catalogue."""

from collections import Counter
from collections.abc import Iterator

from tools.catalogue.build import Built
from tools.catalogue.inputs import Lock


def report(built: Built, lock: Lock, accepted: frozenset[str]) -> Iterator[str]:
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
    yield from (f"  {'' if line in accepted else 'NOT ACCEPTED '}{line}" for line in built.disagreements)
    yield f"Windows that differ: {len(built.windows)}"
    yield from (f"  {line}" for line in built.windows)
    yield "Only in genai-prices, so not sold:"
    yield from (f"  {line}" for line in built.only_genai)
    yield "Left out:"
    yield from (f"  {count} {reason}" for reason, count in built.left_out.items())
