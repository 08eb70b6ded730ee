"""Owns the proof of roll-ups: each table sums to the calls that are in it, by all that it tells apart but time."""

from ledger.rollups.sql import CALLS, ROLLED, ROLLUPS, Rollup
from ledger.rules.rollup_rows import SUMS


def _proof(rollup: Rollup) -> str:
    key = [name for name in rollup.kind.KEY if name != rollup.unit]
    of = dict(zip(rollup.kind.KEY, rollup.values("0"), strict=True))
    what = " || ' ' || ".join(key)
    rows = ", ".join(f"SUM({value}) AS {name}" for name, value in SUMS.items())
    taken = ", ".join(f"-SUM({name})" for name in SUMS)
    wrong = " OR ".join(f"SUM({name}) <> 0" for name in SUMS)
    return (
        f"SELECT '', '{rollup.name} of ' || {what} || ' differs from its calls: billed ' || SUM(billed_nano) "  # noqa: S608  made of our own column names
        f"|| ', calls ' || SUM(calls) || ', which should be 0' FROM ("
        f"SELECT {', '.join(f'{of[name]} AS {name}' for name in key)}, {rows} FROM {CALLS} "
        f"WHERE u.seq <= ({ROLLED}) GROUP BY {', '.join(str(n) for n in range(1, len(key) + 1))} "
        f"UNION ALL SELECT {', '.join(key)}, {taken} FROM {rollup.name} GROUP BY {', '.join(key)}) AS both_sides "
        f"GROUP BY {', '.join(key)} HAVING {wrong}"
    )


PROOFS = tuple(_proof(rollup) for rollup in ROLLUPS)
