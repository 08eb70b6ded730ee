"""Owns the pages of webhooks: endpoints, what was delivered to each, its test, replay, secret and end, and how a receiver verifies."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.parts import Made, part_rows
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit, names_given
from schemas.admin.reads import DELIVERIES, WEBHOOK_ENDPOINT, WEBHOOK_ENDPOINTS
from schemas.admin.webhooks import DeliveryList, EndpointList
from schemas.events import ALL, EVENTS
from schemas.verbs.base import VERSION
from schemas.verbs.webhooks import WebhookCreate, WebhookRef, WebhookReplay, WebhookRotate, WebhookUpdate
from schemas.webhooks import new_secret

PAGE_ROWS: Final = 50
DELIVERED: Final = 30
_TYPES: Final = tuple(event.name for event in EVENTS)
_OVERLAPS: Final = (("0", "Not at all"), ("3600", "An hour"), ("86400", "A day"), ("604800", "7 days"))
_WRITE: Final = "webhooks:write"
_FOLDER: Final = Path(__file__).parent / "samples"
SAMPLES: Final = tuple(
    (language, (_FOLDER / name).read_text())
    for language, name in (
        ("Python", "receiver.py.txt"),
        ("Node", "receiver.mjs.txt"),
        ("Shell", "verify.sh.txt"),
    )
)


async def show(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    """All endpoints, and a form for another."""
    after = visit.query.get("after", "")[:200]
    found = await visit.rows(WEBHOOK_ENDPOINTS, EndpointList(limit=PAGE_ROWS, after=after))
    return visit.page(
        "webhooks.html",
        400 if errors else 200,
        rows=found.rows,
        types=_TYPES,
        samples=SAMPLES,
        following=f"/webhooks?after={found.cursor}" if found.cursor else "",
        first="/webhooks" if after else "",
        errors=errors or {},
    )


async def create(visit: Visit) -> Response:
    """Makes an endpoint, and shows its secret once."""
    secret = new_secret()
    try:
        form = WebhookCreate(
            VERSION, visit.needed("url", "An address"), secret, _events(visit), visit.text("organization")
        )
        made = await visit.act("webhook_create", form)
    except (FormError, RefusedError) as error:
        return await show(visit, visit.refused(error))
    return _made(visit, "The endpoint is made", made.rows[0], "" if made.replayed else secret)


def _events(visit: Visit) -> tuple[str, ...]:
    """The types that were chosen; none is all of them."""
    return names_given(visit.text("events")) or (ALL,)


def _made(visit: Visit, title: str, row: dict[str, Any], secret: str) -> Response:
    return visit.page("webhook_made.html", title=title, row=row, secret=secret, samples=SAMPLES)


async def one(visit: Visit) -> Response:
    """One endpoint."""
    return await shown(visit, {}, "")


async def shown(visit: Visit, errors: dict[str, str], part: str) -> Response:
    """One endpoint, after a form of one of its parts with what was wrong there."""
    id_ = visit.path["id"]
    row = await visit.row(WEBHOOK_ENDPOINT, WebhookRef(VERSION, id_))
    sent = await visit.rows(DELIVERIES, DeliveryList(limit=DELIVERED, endpoint=id_))
    return visit.page(
        "webhook.html",
        400 if errors else 200,
        modules=("live.js",),
        row=row,
        deliveries=sent.rows,
        types=_TYPES,
        overlaps=_OVERLAPS,
        samples=SAMPLES,
        errors=errors,
        part=part,
    )


def _overlap_ms(visit: Visit) -> int:
    """How long the secret of before signs too. Raises FormError."""
    chosen = visit.text("overlap")
    if chosen not in dict(_OVERLAPS):
        raise FormError("overlap", "Choose one of these.")
    return int(chosen) * 1000


async def rotate(visit: Visit) -> Response:
    """Gives an endpoint another secret, and shows it once."""
    secret = new_secret()
    try:
        form = WebhookRotate(VERSION, visit.path["id"], secret, _overlap_ms(visit))
        made = await visit.act("webhook_rotate", form)
    except (FormError, RefusedError) as error:
        return await shown(visit, visit.refused(error), "rotate")
    return _made(visit, "It has another secret", made.rows[0], "" if made.replayed else secret)


async def _update(visit: Visit, id_: str) -> Made:
    return "webhook_update", WebhookUpdate(VERSION, id_, visit.needed("url", "An address"), _events(visit))


async def _enable(_visit: Visit, id_: str) -> Made:
    return "webhook_update", WebhookUpdate(VERSION, id_, status="enabled")


async def _disable(_visit: Visit, id_: str) -> Made:
    return "webhook_update", WebhookUpdate(VERSION, id_, status="disabled")


async def _test(_visit: Visit, id_: str) -> Made:
    return "webhook_test", WebhookRef(VERSION, id_)


async def _replay(visit: Visit, id_: str) -> Made:
    if event := visit.text("event"):
        return "webhook_replay", WebhookReplay(VERSION, id_, event=event)
    return "webhook_replay", WebhookReplay(VERSION, id_, since_ms=_moment_ms(visit, "since"))


def _moment_ms(visit: Visit, field: str) -> int:
    """A field of a moment, UTC. Raises FormError."""
    try:
        moment = datetime.fromisoformat(visit.needed(field, "A moment")).replace(tzinfo=UTC)
    except ValueError:
        raise FormError(field, "Write a moment as 2026-12-31T18:00.") from None
    return max(int(moment.timestamp() * 1000), 1)


async def delete(visit: Visit) -> Response:
    """Ends an endpoint for good."""
    try:
        await visit.act("webhook_delete", WebhookRef(VERSION, visit.path["id"]))
    except RefusedError as error:
        return await shown(visit, visit.refused(error), "delete")
    return visit.see("/webhooks", "webhook_deleted")


ROWS = (
    PageRow(path="/webhooks", show=show, needs="webhooks:read", act=create, act_needs=_WRITE),
    PageRow(path="/webhooks/{id}", show=one, needs="webhooks:read"),
    PageRow(path="/webhooks/{id}/rotate", act=rotate, act_needs=_WRITE),
    PageRow(path="/webhooks/{id}/delete", act=delete, act_needs=_WRITE),
    *part_rows(
        "webhooks",
        shown,
        (
            ("update", "updated", _WRITE, _update),
            ("enable", "webhook_enabled", _WRITE, _enable),
            ("disable", "webhook_disabled", _WRITE, _disable),
            ("test", "webhook_tested", _WRITE, _test),
            ("replay", "webhook_replayed", _WRITE, _replay),
        ),
    ),
)
