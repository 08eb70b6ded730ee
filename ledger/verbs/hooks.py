"""Owns the answers to the dispatcher of webhooks: the endpoints with their secrets, and what it has delivered."""

from ledger.acts import webhooks as acts
from ledger.commits.commands import Command, Write
from ledger.commits.wanted import Wanted
from ledger.rules import webhooks as rules
from ledger.rules.event_rows import Endpoint
from ledger.rules.rows import row_of
from ledger.rules.sealed import decode, live
from ledger.store.statements import ENDPOINTS, columns
from ledger.verbs.base import Acts, Read, Services
from schemas.verbs import hooks as verbs
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import VERSION
from schemas.verbs.hooks import PAGE_ENDPOINTS, Hook, HookDisable, HookLog, HooksQuery, HooksReply

SYSTEM = "system"
# No version of any endpoint ever goes down, and none is taken away: their sum tells of every change.
_VERSION_SQL = "SELECT COALESCE(SUM(version), 0) FROM webhook_endpoints"
_PAGE_SQL = (
    f"SELECT {columns(ENDPOINTS)} FROM webhook_endpoints WHERE status = 'enabled' AND id > $1 "  # noqa: S608  made of our own column names
    "ORDER BY id LIMIT $2"
)


async def hooks(services: Services, query: HooksQuery) -> HooksReply:
    """A page of the endpoints that are enabled. One whose secrets cannot be opened comes without any."""
    store = services.store
    ((version,),) = await store.fetch(_VERSION_SQL)
    if not query.after and int(version) == query.known:
        return HooksReply(int(version))
    rows = await store.fetch(_PAGE_SQL, query.after, PAGE_ENDPOINTS)
    found = [row_of(Endpoint, row) for row in rows]
    cursor = found[-1].id if len(found) == PAGE_ENDPOINTS else ""
    return HooksReply(int(version), tuple(_hook(services, one) for one in found), cursor)


def _hook(services: Services, endpoint: Endpoint) -> Hook:
    signing = live(decode(endpoint.secrets), services.store.now_ms())
    secrets = [services.committer.unseal(endpoint.id, one.sealed) for one in signing]
    return Hook(
        id=endpoint.id,
        url=endpoint.url,
        organization=endpoint.organization,
        secrets=tuple(filter(None, secrets)),
        since_ms=endpoint.since_ms,
        version=endpoint.version,
    )


def _log_wants(names: Wanted, form: HookLog, _digest: str) -> None:
    names.endpoints.update(one.endpoint for one in form.attempts)


def _disable(form: HookDisable) -> Command:
    return acts.HOOK_DISABLE.command(form, ActRequest(VERSION, acts.HOOK_DISABLE.name, b"", actor=SYSTEM))


HOOKS = Read(verb=verbs.HOOKS, answer=hooks)
HOOK_LOG = Write(
    verb=verbs.HOOK_LOG, wants=_log_wants, answer=lambda book, form, _digest: rules.log(book, form)
)
HOOK_DISABLE = Acts(verb=verbs.HOOK_DISABLE, command=_disable)
