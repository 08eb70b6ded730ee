"""Owns the answers about a call and its hold: which rows each needs. What happens to them is in `ledger.rules`."""

from ledger.commits.commands import Write
from ledger.commits.wanted import Wanted
from ledger.rules import holds
from ledger.rules.authorise import authorise
from ledger.verbs.base import Renewal
from schemas.verbs import calls
from schemas.verbs.calls import Authorise, Estimate, Reason, Reattempt, Refusal, Release


def _authorise_wants(names: Wanted, request: Authorise, digest: str) -> None:
    names.digests.add(digest)
    names.request_ids.add(request.request_id)


def _release_wants(names: Wanted, request: Release, _digest: str) -> None:
    names.request_ids.add(request.request_id)


def _bill_wants(names: Wanted, request: Estimate | Reattempt, _digest: str) -> None:
    names.billed.add(request.request_id)


AUTHORISE = Write(
    verb=calls.AUTHORISE,
    wants=_authorise_wants,
    answer=authorise,
    hashed=True,
    busy=Refusal(Reason.BACKLOG),
)
REATTEMPT = Write(
    verb=calls.REATTEMPT,
    wants=_bill_wants,
    answer=lambda book, request, _digest: holds.reattempt(book, request),
)
RENEW = Renewal(verb=calls.RENEW)
RELEASE = Write(
    verb=calls.RELEASE,
    wants=_release_wants,
    answer=lambda book, request, _digest: holds.release(book, request),
)
ESTIMATE = Write(
    verb=calls.ESTIMATE,
    wants=_bill_wants,
    answer=lambda book, request, _digest: holds.estimate(book, request),
)
