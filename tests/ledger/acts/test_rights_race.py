"""A right that ends, while two ledgers do what it allows: nothing is done by it afterwards."""

import asyncio
from typing import Any

from ledger.commits.commands import Command
from ledger.verbs.acts import console_command, log_page
from schemas.admin.credentials import ManagementKey
from schemas.admin.management_keys import ManagementKeyRef
from schemas.admin.reasons import Reason, reason_of
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs.acts import LogQuery
from schemas.verbs.base import Rows, encode
from schemas.verbs.keys import KeyUpdate
from tests.ledger.conftest import Source
from tests.ledger.harness import Books, Clock
from tests.ledger.people import management_key

ROUNDS = 5
ACTS = 12


class Two:
    """Two ledgers on one database; the writer of each commits one after another."""

    def __init__(self, *ledgers: Books) -> None:
        self.ledgers = ledgers
        self.locks = [asyncio.Lock() for _ in ledgers]

    async def act(self, which: int, key: str, proof: ManagementKey) -> Rows:
        """A change of a key by a management key's right."""
        form = KeyUpdate(1, key, name=f"name {which}")
        made = console_command(ConsoleWrite(1, "key_update", encode(form), proof))
        assert isinstance(made, Command)
        async with self.locks[which % 2]:
            answer: Rows = (await self.ledgers[which % 2].committer.commit([made]))[0]
        return answer

    async def revoke(self, id_: str) -> Rows:
        """The end of that right."""
        async with self.locks[1]:
            answer: Rows = await self.ledgers[1].act("management_key_revoke", ManagementKeyRef(1, id_))
        return answer


async def _log(books: Books, **fields: str) -> list[dict[str, Any]]:
    return list((await log_page(books.store, LogQuery(**fields))).rows)


async def test_nothing_is_done_after_a_revocation(books: Books, source: Source, clock: Clock) -> None:
    """Of acts of one key on two ledgers, and its revocation among them, the log has none behind the revocation."""
    two = Two(books, Books(await source.again(), clock))
    key = await books.key()
    for number in range(ROUNDS):
        proof = await management_key(books, "keys:write", name=f"management {number}")
        id_ = (await _log(books, action="management_key_create"))[0]["target"]
        half = [two.act(which, key, proof) for which in range(ACTS // 2)]
        rest = [two.act(which, key, proof) for which in range(ACTS // 2, ACTS)]
        answers = await asyncio.gather(*half, two.revoke(id_), *rest)
        assert reason_of(await two.act(0, key, proof)) is Reason.INVALID_MANAGEMENT_KEY
        ended = (await _log(books, action="management_key_revoke"))[0]["number"]
        mine = [one["number"] for one in await _log(books, actor=f"management_key:{id_}")]
        assert all(one < ended for one in mine)
        assert len(mine) == sum(not one.problem for one in answers) - 1
    await books.check()
    await two.ledgers[1].store.close()
