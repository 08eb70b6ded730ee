"""Owns which reads have an entry in the audit log: receipts, read by whoever is not of their organisation."""

from typing import Any, Final

from ledger.acts.base import Pictures, add_entry
from ledger.commits.load_act import load_act
from ledger.commits.load_save import save, wanted
from ledger.commits.telling_alone import lone_book
from ledger.rules.grants import Grant
from ledger.store.base import Store, again
from schemas.admin.reads import CALL
from schemas.admin.verbs import ConsoleRead
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import VERSION, Rows

ACTION: Final = "receipt_read"
MANY: Final = "calls"  # the target of an entry about several
RECEIPT: Final = "receipt"  # what a list of calls is expanded by


async def note(store: Store, grant: Grant, request: ConsoleRead, answer: Rows) -> None:
    """Enters that receipts were read, before anybody has them. Raises StoreError: then there is no answer."""
    if grant.organization or answer.problem:
        return
    calls = _calls(request, answer)
    if calls:
        await again(lambda: _enter(store, grant, request, calls))


def _calls(request: ConsoleRead, answer: Rows) -> dict[str, str]:
    """The organisations of the calls whose receipts an answer has, by the calls' ids."""
    rows: list[dict[str, Any]] = []
    if request.name == CALL.name:
        rows = list(answer.rows)
    elif RECEIPT in request.expand:
        rows = [row["receipt"] for row in answer.rows if row.get("receipt")]
    return {row["id"]: _id_of(row["organization"]) for row in rows}


def _id_of(organization: Any) -> str:
    """Of one that is expanded, too."""
    return str(organization["id"] if isinstance(organization, dict) else organization)


async def _enter(store: Store, grant: Grant, request: ConsoleRead, calls: dict[str, str]) -> None:
    read: Pictures = {f"calls/{id_}": {"organization": whose} for id_, whose in calls.items()}
    async with store.write() as tx:
        book = lone_book(tx)
        await load_act(tx, book, wanted())  # it has the log's head now: others wait
        book.grant = grant
        add_entry(
            book,
            action=ACTION,
            target=next(iter(calls)) if len(calls) == 1 else MANY,
            request=ActRequest(VERSION, ACTION, b"", actor=grant.actor),
            console=request,
            changed=({}, read),
            answer=Rows(),
        )
        await save(tx, book, None)
