"""Owns the arithmetic of a stream's position: the highest sequence below which everything is applied."""

from collections.abc import Iterable

Range = tuple[int, int]


def ranges_of(sequences: Iterable[int]) -> list[Range]:
    """Runs of neighbouring numbers, ascending."""
    runs: list[Range] = []
    for number in sorted(set(sequences)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def advance(applied: int, runs: Iterable[Range]) -> tuple[int, list[Range]]:
    """The new position after some runs, in any order, and those that are still ahead of a gap."""
    rest: list[Range] = []
    for first, last in sorted(runs):
        if first <= applied + 1:
            applied = max(applied, last)
        elif rest and first <= rest[-1][1] + 1:
            rest[-1] = (rest[-1][0], max(rest[-1][1], last))
        else:
            rest.append((first, last))
    return applied, rest
