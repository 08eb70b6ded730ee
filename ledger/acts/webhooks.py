"""Owns the acts on webhook endpoints."""

from ledger.acts.base import Act
from ledger.commits.wanted import Repeated, Wanted
from ledger.rules import webhooks as rules
from ledger.rules.book import Book
from ledger.rules.event_rows import Endpoint
from schemas.verbs.hooks import HookDisable
from schemas.verbs.webhooks import WebhookCreate, WebhookRef, WebhookReplay, WebhookRotate, WebhookUpdate


def _create_wants(names: Wanted, form: WebhookCreate, _digest: str) -> None:
    names.endpoints_of = form.organization
    if form.organization:
        names.owners.add(form.organization)


def _wants(
    names: Wanted, form: WebhookRef | WebhookUpdate | WebhookRotate | HookDisable, _digest: str
) -> None:
    names.endpoints.add(form.id)


def _of(book: Book, form: WebhookRef | WebhookUpdate | WebhookRotate | WebhookReplay) -> tuple[str, ...]:
    endpoint = book.hooks.endpoints.get(form.id)
    return ("" if endpoint is None else endpoint.organization,)


def _named(book: Book, form: WebhookRef | WebhookUpdate) -> Endpoint | None:
    return book.hooks.endpoints.get(form.id)


def _replay_wants(names: Wanted, form: WebhookReplay, _digest: str) -> None:
    names.endpoints.add(form.id)
    names.repeated = Repeated(form.id, form.event, form.since_ms, form.ago_s)


WEBHOOK_CREATE = Act(
    name="webhook_create",
    form=WebhookCreate,
    wants=_create_wants,
    do=lambda book, form, _digest: rules.create(book, form),
    scopes=("webhooks:write",),
    of=lambda _book, form: (form.organization,),
)
WEBHOOK_UPDATE = Act(
    name="webhook_update",
    form=WebhookUpdate,
    wants=_wants,
    do=lambda book, form, _digest: rules.update(book, form),
    scopes=("webhooks:write",),
    of=_of,
    version=_named,
)
WEBHOOK_DELETE = Act(
    name="webhook_delete",
    form=WebhookRef,
    wants=_wants,
    do=lambda book, form, _digest: rules.delete(book, form),
    scopes=("webhooks:write",),
    of=_of,
    version=_named,
)
WEBHOOK_ROTATE = Act(
    name="webhook_rotate",
    form=WebhookRotate,
    wants=_wants,
    do=lambda book, form, _digest: rules.rotate(book, form),
    scopes=("webhooks:write",),
    of=_of,
)
WEBHOOK_TEST = Act(
    name="webhook_test",
    form=WebhookRef,
    wants=_wants,
    do=lambda book, form, _digest: rules.test(book, form),
    scopes=("webhooks:write",),
    of=_of,
)
WEBHOOK_REPLAY = Act(
    name="webhook_replay",
    form=WebhookReplay,
    wants=_replay_wants,
    do=lambda book, form, _digest: rules.replay(book, form),
    scopes=("webhooks:write",),
    of=_of,
)
# By the dispatcher, when an endpoint is gone or fails for days.
HOOK_DISABLE = Act(
    name="hook_disable",
    form=HookDisable,
    wants=_wants,
    do=lambda book, form, _digest: rules.disable(book, form),
)
