"""Owns what operators do to webhook endpoints, and what becomes of one that fails."""

import msgspec
from msgspec import structs

from ledger.rules.book import Book, Told
from ledger.rules.event_rows import DeliveryRow, Endpoint, EndpointStatus
from ledger.rules.keys import seconds
from ledger.rules.missing import missing
from ledger.rules.sealed import HINT_CHARS, LIVE_MAX, Sealed, decode, encode, live
from schemas.bus.subjects import new_id
from schemas.events import ALL, BY_NAME
from schemas.verbs.base import Rows
from schemas.verbs.hooks import LOGGED_MAX, RESPONSE_CHARS_MAX, Attempt, HookDisable, HookLog, Outcome
from schemas.verbs.webhooks import WebhookCreate, WebhookRef, WebhookReplay, WebhookRotate, WebhookUpdate
from schemas.webhooks import (
    BY_OPERATOR,
    ENDPOINTS_MAX,
    OVERLAP_MAX_MS,
    events_problem,
    secret_problem,
    url_problem,
)

OVERDUE_MS = 5 * 86_400_000  # without a success, an endpoint is given up
REPLAY_MAX = 1_000  # events of one act
REASON_CHARS_MAX = 200
_MILLISECONDS_MAX = 2**53
_names = msgspec.json.Decoder(tuple[str, ...]).decode


def endpoint_row(endpoint: Endpoint, now_ms: int) -> dict[str, object]:
    """An endpoint as commands show it: of its secrets the hints."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(_names(endpoint.events)),
        "organization": endpoint.organization or None,
        "status": endpoint.status,
        "disabled_reason": endpoint.reason or None,
        "failing_since": seconds(endpoint.failing_ms),
        "secrets": [
            {
                "id": one.id,
                "hint": one.hint,
                "created": one.created_ms // 1000,
                "expires_at": seconds(one.expires_ms),
            }
            for one in live(decode(endpoint.secrets), now_ms)
        ],
        "created": endpoint.created_ms // 1000,
        "version": endpoint.version,
    }


def wants_all(endpoint: Endpoint) -> bool:
    """Whether an endpoint wants every type, those of later versions too."""
    return _names(endpoint.events) == (ALL,)


def types_of(endpoint: Endpoint) -> tuple[str, ...]:
    """The types of events that an endpoint wants."""
    return tuple(BY_NAME) if wants_all(endpoint) else _names(endpoint.events)


def _row(book: Book, endpoint: Endpoint) -> Rows:
    return Rows((endpoint_row(endpoint, book.now_ms),))


def _found(book: Book, id_: str) -> Endpoint | None:
    found = book.hooks.endpoints.get(id_)
    return None if found is None or found.status == EndpointStatus.DELETED else found


def _changed(book: Book, endpoint: Endpoint) -> None:
    endpoint.version += 1
    book.hooks.endpoints.touch(endpoint)


def _sealed(book: Book, endpoint: str, secret: str) -> Sealed:
    sealed = book.seal(endpoint, secret)
    return Sealed(new_id("sec_"), sealed, secret[-HINT_CHARS:], book.now_ms)


def create(book: Book, form: WebhookCreate) -> Rows:
    """Makes an endpoint; it gets what happens from now on."""
    problem = url_problem(form.url) or secret_problem(form.secret) or events_problem(form.events)
    if problem:
        return Rows(problem=problem)
    if form.organization and form.organization not in book.profiles:
        return missing(f"organisation {form.organization}")
    if book.hooks.held >= ENDPOINTS_MAX:
        return Rows(problem=f"there are {ENDPOINTS_MAX} endpoints already: delete one first")
    id_ = new_id("whe_")
    endpoint = book.hooks.endpoints.add(
        Endpoint(
            id=id_,
            url=form.url,
            events=encode(tuple(dict.fromkeys(form.events))).decode(),
            organization=form.organization,
            status=EndpointStatus.ENABLED,
            reason="",
            secrets=encode([_sealed(book, id_, form.secret)]).decode(),
            created_ms=book.now_ms,
            since_ms=book.now_ms,
        )
    )
    return _row(book, endpoint)


def update(book: Book, form: WebhookUpdate) -> Rows:
    """Changes an endpoint; what is as asked already is no change."""
    endpoint = _found(book, form.id)
    if endpoint is None:
        return missing(f"webhook endpoint {form.id}")
    problem = "" if form.url is None else url_problem(form.url)
    problem = problem or ("" if form.events is None else events_problem(form.events))
    if not problem and form.status not in ("", EndpointStatus.ENABLED, EndpointStatus.DISABLED):
        problem = "an endpoint can be enabled or disabled"
    if problem:
        return Rows(problem=problem)
    was = structs.astuple(endpoint)
    if form.url is not None:
        endpoint.url = form.url
    if form.events is not None:
        endpoint.events = encode(tuple(dict.fromkeys(form.events))).decode()
    if form.status == EndpointStatus.ENABLED and endpoint.status != form.status:
        endpoint.status, endpoint.reason = form.status, ""
        endpoint.since_ms, endpoint.failing_ms = book.now_ms, 0
    if structs.astuple(endpoint) != was:
        _changed(book, endpoint)
    if form.status == EndpointStatus.DISABLED:
        _disable(book, endpoint, BY_OPERATOR)
    return _row(book, endpoint)


def _disable(book: Book, endpoint: Endpoint, reason: str) -> None:
    if endpoint.status != EndpointStatus.ENABLED:
        return
    endpoint.status, endpoint.reason = EndpointStatus.DISABLED, reason
    _changed(book, endpoint)
    data = endpoint_row(endpoint, book.now_ms)
    book.tell(Told("webhook.disabled", endpoint.id, endpoint.organization, data))


def disable(book: Book, form: HookDisable) -> Rows:
    """Disables an endpoint on the dispatcher's word."""
    endpoint = _found(book, form.id)
    if endpoint is None:
        return missing(f"webhook endpoint {form.id}")
    _disable(book, endpoint, form.reason.replace("\x00", "")[:REASON_CHARS_MAX])
    return _row(book, endpoint)


def delete(book: Book, form: WebhookRef) -> Rows:
    """Ends an endpoint for good. Its secrets go, its deliveries stay."""
    endpoint = _found(book, form.id)
    if endpoint is None:
        return missing(f"webhook endpoint {form.id}")
    endpoint.status, endpoint.secrets = EndpointStatus.DELETED, "[]"
    _changed(book, endpoint)
    return _row(book, endpoint)


def rotate(book: Book, form: WebhookRotate) -> Rows:
    """Gives an endpoint another secret; those before sign for a while beside it."""
    endpoint = _found(book, form.id)
    if endpoint is None:
        return missing(f"webhook endpoint {form.id}")
    problem = secret_problem(form.secret)
    if not 0 <= form.overlap_ms <= OVERLAP_MAX_MS:
        problem = "the overlap must be from 0 to 7 days"
    if problem:
        return Rows(problem=problem)
    until_ms = book.now_ms + form.overlap_ms
    before = live(decode(endpoint.secrets), book.now_ms) if form.overlap_ms else []
    if len(before) >= LIVE_MAX:
        return Rows(
            problem=f"{LIVE_MAX} secrets sign already: wait for one to end, or rotate with --overlap 0"
        )
    for one in before:
        one.expires_ms = min(one.expires_ms or until_ms, until_ms)
    endpoint.secrets = encode([_sealed(book, endpoint.id, form.secret), *before]).decode()
    _changed(book, endpoint)
    return _row(book, endpoint)


def test(book: Book, form: WebhookRef) -> Rows:
    """Sends an endpoint, and nobody else, an event that says so."""
    endpoint = _found(book, form.id)
    problem = _unreachable(endpoint, form.id)
    if endpoint is None or problem is not None:
        return problem or Rows()
    id_ = new_id("evt_")
    data = endpoint_row(endpoint, book.now_ms)
    book.tell(Told("webhook.test", endpoint.id, endpoint.organization, data, id=id_, endpoint=endpoint.id))
    return Rows(({"id": endpoint.id, "event": id_},))


def replay(book: Book, form: WebhookReplay) -> Rows:
    """Has an endpoint get events again. They keep their ids."""
    endpoint = _found(book, form.id)
    problem = _unreachable(endpoint, form.id)
    if endpoint is None or problem is not None:
        return problem or Rows()
    if sum(map(bool, (form.event, form.since_ms, form.ago_s))) != 1 or min(form.since_ms, form.ago_s) < 0:
        return Rows(problem="name an event, or a moment")
    found = book.hooks.repeated
    if form.event and not found:
        return missing(f"event {form.event}")
    rest = found[REPLAY_MAX:]
    for one in found[:REPLAY_MAX]:
        book.events.append(structs.replace(one, endpoint=endpoint.id, again=True, published=False))
    return Rows(
        (
            {
                "id": endpoint.id,
                "events": len(found) - len(rest),
                "more_since": seconds(rest[0].created_ms) if rest else None,
            },
        )
    )


def _unreachable(endpoint: Endpoint | None, id_: str) -> Rows | None:
    if endpoint is None:
        return missing(f"webhook endpoint {id_}")
    if endpoint.status != EndpointStatus.ENABLED:
        return Rows(problem=f"webhook endpoint {id_} is disabled: enable it first")
    return None


def log(book: Book, form: HookLog) -> Rows:
    """Notes attempts, and since when an endpoint has failed."""
    seen: dict[str, Endpoint] = {}
    for one in form.attempts[:LOGGED_MAX]:
        endpoint = book.hooks.endpoints.get(one.endpoint)
        if endpoint is None:
            continue
        seen[endpoint.id] = endpoint
        book.hooks.deliveries.append(_delivery(one, book.now_ms))
        failing_ms = 0 if one.outcome == Outcome.SUCCEEDED else endpoint.failing_ms or book.now_ms
        if failing_ms != endpoint.failing_ms:
            endpoint.failing_ms = failing_ms
            book.hooks.endpoints.touch(endpoint)
    return Rows(
        tuple(
            {"id": one.id, "overdue": 0 < one.failing_ms <= book.now_ms - OVERDUE_MS} for one in seen.values()
        )
    )


def _delivery(one: Attempt, now_ms: int) -> DeliveryRow:
    retry_ms = min(max(one.retry_ms, 0), _MILLISECONDS_MAX)
    return DeliveryRow(
        id=one.id[:64],
        endpoint=one.endpoint,
        event=one.event[:64],
        type=one.type[:64],
        attempt=min(max(one.attempt, 0), _MILLISECONDS_MAX),
        status=one.outcome[:16],
        code=min(max(one.code, 0), 999),
        ms=min(max(one.ms, 0), _MILLISECONDS_MAX),
        response=_text(one.response),
        error=_text(one.error),
        next_ms=now_ms + retry_ms if retry_ms else 0,
        created_ms=now_ms,
    )


def _text(text: str) -> str:
    """What a database takes of what a stranger said."""
    return text.replace("\x00", "")[:RESPONSE_CHARS_MAX]


def delivery_row(row: DeliveryRow) -> dict[str, object]:
    """A delivery as commands show it."""
    return {
        "id": row.id,
        "endpoint": row.endpoint,
        "event": row.event,
        "type": row.type,
        "attempt": row.attempt,
        "status": row.status,
        "code": row.code or None,
        "ms": row.ms,
        "response": row.response,
        "error": row.error or None,
        "next_at": seconds(row.next_ms),
        "created": row.created_ms // 1000,
    }
