"""Exports and statements as CSV: which columns each has, and how a ledger's pages become lines."""

from collections.abc import Callable, Mapping
from typing import Final

from schemas.exports.base import Export
from schemas.exports.calls import CallsCsv
from schemas.exports.focus import FocusCsv
from schemas.exports.journal import JournalCsv
from schemas.verbs.exports import CALLS, FOCUS, JOURNAL

CSVS: Final[Mapping[str, Callable[[], Export]]] = {JOURNAL: JournalCsv, CALLS: CallsCsv, FOCUS: FocusCsv}
