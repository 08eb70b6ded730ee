"""Owns `tokn webhook` and `tokn events`: endpoints that are sent events, what was delivered, and what has happened."""

import sys
from typing import Annotated, Any

import typer

from schemas import webhooks
from schemas.verbs.base import VERSION
from schemas.verbs.webhooks import (
    DeliveriesQuery,
    EventsQuery,
    WebhookCreate,
    WebhookRef,
    WebhookReplay,
    WebhookRotate,
    WebhooksQuery,
    WebhookUpdate,
)
from tokn import show
from tokn.errors import UnknownError
from tokn.options import AsJson, Config, Data, IdempotencyKey, ledger_of, names_of
from tokn.times import ending, length_ms

STANDARD_INPUT = "-"
LINE_CHARS_MAX = 1_000
webhook_app = typer.Typer(
    help="Make, list, change, test and replay webhook endpoints.", no_args_is_help=True, rich_markup_mode=None
)
Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's id.")]
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]
Organization = Annotated[
    str, typer.Option("--organization", metavar="ORG", help="Only what is this organisation's.")
]
Secret = Annotated[
    str,
    typer.Option(
        "--secret",
        metavar="SECRET",
        help="A secret of your own, as whsec_…; - reads it from standard input.",
        show_default=False,
    ),
]
Events = Annotated[
    str | None,
    typer.Option("--events", metavar="A,B", help="Only these types. *: all.", show_default=False),
]


def _secret(text: str) -> str:
    """The secret that is asked for, or a fresh one. Raises BadParameter."""
    secret = sys.stdin.readline(LINE_CHARS_MAX).strip() if text == STANDARD_INPUT else text
    if not secret:
        return webhooks.new_secret()
    if why := webhooks.secret_problem(secret):
        raise typer.BadParameter(why, param_hint="--secret")
    return secret


def _events(text: str | None) -> tuple[str, ...] | None:
    """Types as they were written; None where there is no word of them. Raises BadParameter."""
    if text is None:
        return None
    names = names_of(text)
    if why := webhooks.events_problem(names):
        raise typer.BadParameter(why, param_hint="--events")
    return names


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """An endpoint for people."""
    hints = [f"…{one['hint']}" for one in row["secrets"]]
    return {**row, "events": ", ".join(row["events"]), "secrets": ", ".join(hints)}


def _say(row: dict[str, Any], as_json: bool, title: str, **more: str) -> None:
    shown = {"id": row.pop("id"), **more, **row}
    show.one(shown, as_json, title, _flat(shown) if "secrets" in shown else shown)


def _signed(ledger: Any, name: str, request: WebhookCreate | WebhookRotate, key: str) -> dict[str, Any]:
    """What an act with a new secret has made. Raises UnknownError, with the secret: to repeat it needs the same one."""
    try:
        return dict(ledger.act(name, request, key))
    except UnknownError as error:
        raise UnknownError(f"{error} --secret - and the secret on standard input: {request.secret}") from None


@webhook_app.command("create")
def create(  # noqa: PLR0917  Typer calls it by name
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent, over https.")],
    events: Events = None,
    organization: Organization = "",
    secret: Secret = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an endpoint and print the secret that signs what it is sent. It is shown only now."""
    fresh = _secret(secret)
    request = WebhookCreate(VERSION, url, fresh, _events(events) or ("*",), organization)
    row = _signed(ledger_of(config, data), "webhook_create", request, idempotency_key)
    _say(row, as_json, "New endpoint (its secret is shown only now)", secret=fresh)


@webhook_app.command("list")
def list_(
    organization: Organization = "", config: Config = None, data: Data = None, as_json: AsJson = False
) -> None:
    """List all endpoints, the oldest first."""
    rows = ledger_of(config, data).pages(sys.maxsize, WebhooksQuery(organization=organization))
    empty = "No endpoints. Make one: tokn webhook create https://example.com/hook"
    show.many(rows, as_json, show.PAIR, title="Webhook endpoints", empty=empty, shown=_endpoint)


@webhook_app.command("show")
def show_(endpoint: Endpoint, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one endpoint."""
    rows = ledger_of(config, data).pages(1, WebhooksQuery(id=endpoint))
    _say(dict(next(iter(rows))), as_json, "Webhook endpoint")


@webhook_app.command("update")
def update(  # noqa: PLR0917  Typer calls it by name
    endpoint: Endpoint,
    url: Annotated[str | None, typer.Option(help="Another address.", show_default=False)] = None,
    events: Events = None,
    enable: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Send to it again, or no more.", show_default=False),
    ] = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change an endpoint: what no option names stays as it is. Enabled again, it gets what happens from then on."""
    if url is None and events is None and enable is None:
        raise typer.BadParameter("name what is to change: --url, --events, --enable or --disable")
    status = "" if enable is None else "enabled" if enable else "disabled"
    request = WebhookUpdate(VERSION, endpoint, url, _events(events), status)
    _say(ledger_of(config, data).act("webhook_update", request, idempotency_key), as_json, "Webhook endpoint")


@webhook_app.command("delete")
def delete(
    endpoint: Endpoint,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Delete an endpoint, for good. Its deliveries stay in the log."""
    request = WebhookRef(VERSION, endpoint)
    _say(ledger_of(config, data).act("webhook_delete", request, idempotency_key), as_json, "Deleted")


@webhook_app.command("rotate")
def rotate(  # noqa: PLR0917  Typer calls it by name
    endpoint: Endpoint,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret signs too; 0 for not at all.")
    ] = "24h",
    secret: Secret = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret and print it. It is shown only now; both sign until the overlap ends."""
    fresh = _secret(secret)
    request = WebhookRotate(VERSION, endpoint, fresh, length_ms(overlap, "--overlap"))
    row = _signed(ledger_of(config, data), "webhook_rotate", request, idempotency_key)
    _say(row, as_json, "New secret (shown only now)", secret=fresh)


@webhook_app.command("test")
def send_test(
    endpoint: Endpoint,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send an endpoint, and no other, an event of the type webhook.test."""
    request = WebhookRef(VERSION, endpoint)
    _say(ledger_of(config, data).act("webhook_test", request, idempotency_key), as_json, "Sent")


@webhook_app.command("replay")
def replay(  # noqa: PLR0917  Typer calls it by name
    endpoint: Endpoint,
    event: Annotated[str, typer.Argument(metavar="[EVENT]", help="The event's id.")] = "",
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="All that it wants since then: 2h, or 2026-11-30.")
    ] = "",
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send an endpoint an event again, or all since a date. Each keeps its id."""
    if bool(event) == bool(since):
        raise typer.BadParameter("give EVENT or --since")
    since_ms, ago_s = ending(since, "--since") if since else (0, 0)
    request = WebhookReplay(VERSION, endpoint, event, since_ms, ago_s)
    _say(ledger_of(config, data).act("webhook_replay", request, idempotency_key), as_json, "Sent again")


@webhook_app.command("log")
def log(  # noqa: PLR0917  Typer calls it by name
    endpoint: Annotated[str, typer.Argument(metavar="[ENDPOINT]", help="Only this endpoint's.")] = "",
    event: Annotated[str, typer.Option(metavar="EVENT", help="Only this event's.")] = "",
    limit: Limit = 50,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what was delivered in the last 30 days, and what was not and why; the newest first."""
    rows = ledger_of(config, data).pages(limit, DeliveriesQuery(endpoint=endpoint, event=event))
    show.many(rows, as_json, show.PAIR, title="Deliveries", empty="Nothing was sent yet.", shown=_delivery)


def _endpoint(row: dict[str, Any]) -> dict[str, str]:
    status = f"{row['status']}: {row['disabled_reason']}" if row["disabled_reason"] else row["status"]
    events = ", ".join(row["events"])
    return {"what": f"{row['id']}\n{status}", "about": f"{row['url']}\n{events}"}


def _delivery(row: dict[str, Any]) -> dict[str, str]:
    said = f"{row['status']} {row['code'] or row['error'] or ''}".strip()
    about = f"{row['type']}\nattempt {row['attempt']}, {row['ms']} ms\n{said}"
    return {
        "what": f"{row['event']}\n{row['endpoint']}\n{show.cell('created', row['created'])}",
        "about": about,
    }


def events(  # noqa: PLR0917  Typer calls it by name
    type_: Annotated[str, typer.Option("--type", help="Only events of this type.")] = "",
    organization: Organization = "",
    limit: Limit = 50,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what has happened in the last 90 days, as webhooks tell it; the newest first."""
    rows = ledger_of(config, data).pages(limit, EventsQuery(type=type_, organization=organization))
    show.many(rows, as_json, show.PAIR, title="Events", empty="No events yet.", shown=_event)


def _event(row: dict[str, Any]) -> dict[str, str]:
    lines = [row["type"], row["about"], row["organization"] or ""]
    return {
        "what": f"{row['id']}\n{show.cell('created', row['created'])}",
        "about": "\n".join(filter(None, lines)),
    }
