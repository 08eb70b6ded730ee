"""Owns the answers about rate limits: which rows a change needs."""

from ledger.commits.commands import Write
from ledger.commits.load_save import Wanted
from ledger.rules.limits import setting
from schemas.verbs import limits as verbs
from schemas.verbs.limits import LimitsSet


def _wants(names: Wanted, request: LimitsSet, _digest: str) -> None:
    names.scopes.add(setting.scope_of(request))


LIMITS_SET = Write(
    verb=verbs.LIMITS_SET,
    wants=_wants,
    answer=lambda book, request, _digest: setting.limits_set(book, request),
)
