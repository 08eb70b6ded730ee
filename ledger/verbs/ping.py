"""Owns the answer to a ping: the ledger is there, its database too, and whether that takes writes."""

from ledger.verbs.base import Read, Services
from schemas.verbs import ping
from schemas.verbs.base import Done
from schemas.verbs.ping import Ping


async def _ping(services: Services, _request: Ping) -> Done:
    await services.store.fetch("SELECT 1")
    if not services.committer.writable:
        return Done(ok=False, detail="the database takes no writes")
    return Done()


PING = Read(verb=ping.PING, answer=_ping)
