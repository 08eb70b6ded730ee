"""Owns the commands of `tokn`: their options, what they ask for, and their exit codes."""

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from runtime import log
from runtime.service import EXIT_CONFIGURATION, EXIT_FAILED
from runtime.settings.settings import SettingsError
from schemas import keys
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.keys import (
    BALANCE,
    KEY_LIST,
    KEY_SHOW,
    KeyCreate,
    KeyList,
    KeyRef,
)
from schemas.verbs.pools import POOLS, PoolsQuery
from schemas.verbs.surprises import SURPRISES, SurprisesForget, SurprisesQuery
from schemas.verbs.usage import USAGE, UsageQuery
from tokn import show, sums
from tokn.audit import audit_app
from tokn.backup import backup
from tokn.books import export, statement
from tokn.caps import cap_app, id_by, new_cap
from tokn.console import console_app, new_sign_in
from tokn.errors import NoLedgerError, RefusedError, UnknownError
from tokn.keys import COMMANDS, HINT_CHARS, Expires, KeyArgument, Models, models_of
from tokn.limits import InFlight, Rpm, Tpm, limit_of, limits
from tokn.models import models_app
from tokn.money import MONEY, NEGATIVE, pool_app
from tokn.named import hide, key_id, secret_of
from tokn.nats_config import nats_config
from tokn.options import (
    AsJson,
    Config,
    Data,
    IdempotencyKey,
    folder_of,
    ledger_of,
    nano_of,
    providers_of,
)
from tokn.organizations import org_app
from tokn.parked import parked
from tokn.people import management_key_app, operator_app
from tokn.times import ending
from tokn.topups import TOPUP_COMMANDS
from tokn.version import every_command
from tokn.webhooks import events, webhook_app

EXIT_NO_LEDGER = 4
MISSING_SHOWN = 50
STATUSES = ("active", "paused", "expired", "revoked")

app = typer.Typer(
    name="tokn",
    help="Metered access to pools of LLM provider credit through one OpenAI-compatible API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    callback=every_command,
)
key_app = typer.Typer(
    help="Make, list, show, change and revoke keys.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(key_app, name="key")
app.add_typer(cap_app, name="cap")
for one in COMMANDS:
    key_app.command()(one)
app.add_typer(org_app, name="org")
app.add_typer(operator_app, name="operator")
app.add_typer(management_key_app, name="management-key")
app.add_typer(models_app, name="models")
app.add_typer(audit_app, name="audit")
app.add_typer(pool_app, name="pool")
app.add_typer(console_app, name="console")
app.command("limits")(limits)
app.command("parked")(parked)
app.add_typer(webhook_app, name="webhook")
app.command("events")(events)
app.command("backup")(backup)
app.command("statement")(statement)
app.command("export")(export)
app.command("nats-config")(nats_config)
for command in MONEY:
    app.command(context_settings=NEGATIVE)(command)
for command in TOPUP_COMMANDS:
    app.command()(command)


@functools.cache
def commands() -> Callable[..., Any]:
    """All commands, read once from the functions above and below: half of the CPU of parsing some words."""
    return typer.main.get_command(app)


def run(words: list[str]) -> int:
    """Runs one command and answers with its exit code. All that fails says one line on standard error."""
    words = hide(words)
    try:
        commands()(args=words, prog_name="tokn")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else EXIT_FAILED
    except SettingsError as error:
        return _fail(words, str(error), EXIT_CONFIGURATION)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return EXIT_FAILED
    except NoLedgerError as error:
        return _fail(words, str(error), EXIT_NO_LEDGER)
    except RefusedError as error:
        return _fail(words, str(error), EXIT_FAILED)
    return 0


def _fail(words: list[str], why: str, code: int) -> int:
    command = " ".join(["tokn", *(word for word in words[:1] if not word.startswith("-"))])
    log.say(f"{command}: {' '.join(why.splitlines())}")
    return code


# Running.


@app.command()
def up(  # noqa: PLR0917  Typer calls it by name
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on. [8000]", show_default=False)
    ] = None,
    console_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the console; another one if it is taken. [8001]",
            show_default=False,
        ),
    ] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="Run without the console.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Run everything on this machine: nats-server, ledger, workers, edge, console.

    The first start prints a key with 5 USD and a curl line. Ctrl-C stops it in order.
    """
    from tokn.up import up as run_up  # noqa: PLC0415  other commands do not load it

    raise typer.Exit(
        run_up(config, folder_of(data), host, port, console_port=console_port, console=not no_console)
    )


@app.command()
def edge(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on.", show_default=False)
    ] = None,
) -> None:
    """Run one edge: the HTTP surface. Needs [nats] url in the configuration."""
    from tokn.services import run_standalone  # noqa: PLC0415  other commands do not load it

    raise typer.Exit(run_standalone("edge", config, host=host, port=port))


@app.command()
def worker(
    pools: Annotated[list[str], typer.Argument(metavar="POOL...", help="The pools to serve.")],
    config: Config = None,
) -> None:
    """Run one worker for one pool or several. Needs [nats] url in the configuration."""
    from tokn.services import run_standalone  # noqa: PLC0415  other commands do not load it

    raise typer.Exit(run_standalone("worker", config, pools=tuple(pools)))


@app.command()
def ledger(
    config: Config = None,
    data: Data = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the schema as PostgreSQL SQL, and end.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Copy a stopped SQLite file into PostgreSQL, and end."),
    ] = None,
) -> None:
    """Run one ledger: keys, balances, prices, bills. Needs [nats] url in the configuration."""
    if file is not None:
        from tokn.importing import import_file  # noqa: PLC0415  only --import needs it

        import_file(config, file)
        raise typer.Exit
    if sql:
        from ledger.store.migrate import script  # noqa: PLC0415  only --sql needs it

        sys.stdout.write(script("postgresql"))
        raise typer.Exit
    from tokn.services import run_standalone  # noqa: PLC0415  other commands do not load it

    raise typer.Exit(run_standalone("ledger", config, data=data))


@app.command()
def reload(
    check: Annotated[
        bool, typer.Option("--check", help="Only say what differs, and whether it could be taken.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Have the running tokn up read its configuration again. What is wrong in it changes nothing, and is exit code 3."""
    from tokn import asking  # noqa: PLC0415  other commands do not load it

    answer = asking.ask(folder_of(data), asking.Question(check))
    if answer.error:
        raise SettingsError(answer.error)
    if as_json:
        show.json_lines([{"checked": check, **msgspec.to_builtins(answer)}])
        return
    told = [change.line for change in answer.changes] or ["Nothing differs."]
    if any(change.restart for change in answer.changes):
        told.append("Restart tokn up for what needs a restart; all else is live.")
    if answer.changes:
        told.append("It can be taken." if check else f"Reloaded: this is generation {answer.generation}.")
    sys.stdout.write("\n".join(told) + "\n")


# Asking the ledger.


def _one(reply: Rows) -> dict[str, Any]:
    return dict(reply.rows[0])


@key_app.command("create")
def key_create(  # noqa: PLR0917  Typer calls it by name
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    profile: Annotated[
        str, typer.Option("--profile", "--organization", metavar="ORG", help="Whose key it is.")
    ] = "default",
    balance: Annotated[str, typer.Option(metavar="USD", help="The opening balance.")] = "0",
    providers: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these providers. Left out: all.", show_default=False),
    ] = None,
    playground: Annotated[
        bool, typer.Option("--playground", help="Draw on the profile's playground credits.")
    ] = False,
    wallet: Annotated[
        bool, typer.Option("--organization-wallet", help="Draw on the organisation's own balance.")
    ] = False,
    models: Models = None,
    expires: Expires = None,
    secret: Annotated[
        str,
        typer.Option("--key", metavar="KEY", help="Make this key, again; - reads it from standard input."),
    ] = "",
    cap: Annotated[
        list[str] | None,
        typer.Option(
            "--cap",
            metavar="PERIOD=USD[@ZONE]",
            help="A spend cap, as day=5 or month=100@Europe/Berlin.",
            show_default=False,
        ),
    ] = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    in_flight: InFlight = None,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown only now: the ledger keeps a hash."""
    key = secret_of(secret) if secret else keys.generate()
    expires_ms, expires_in_s = (0, 0) if expires is None else ending(expires, "--expires")
    request = KeyCreate(
        VERSION,
        keys.digest(key),
        name,
        profile,
        nano_of(balance, least=0, what="--balance"),
        providers_of(providers),
        playground,
        key[-HINT_CHARS:],
        models_of(models) or None,
        expires_ms,
        wallet,
        # Their ids follow from the key: a creation that is repeated is the same request.
        tuple(new_cap(one, id_by(f"{keys.digest(key).hex()}:{at}")) for at, one in enumerate(cap or ())),
        expires_in_s,
        limit_of(rpm, "--rpm") or 0,
        limit_of(tpm, "--tpm") or 0,
        limit_of(in_flight, "--in-flight") or 0,
    )
    try:
        row = ledger_of(config, data).act("key_create", request, idempotency_key)
    except UnknownError as error:
        raise UnknownError(f"{error} --key - and the key on standard input: {key}") from None
    made = {"id": row.pop("id"), "key": key, **row}
    show.one(made, as_json, "New key (shown only now)")


@key_app.command("list")
def key_list(  # noqa: PLR0917  Typer calls it by name
    organization: Annotated[str, typer.Option(metavar="ORG", help="Only this organisation's.")] = "",
    status: Annotated[str, typer.Option(help="Only active, paused, expired or revoked ones.")] = "",
    name: Annotated[str, typer.Option(help="Only those with this in their name.")] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List keys, oldest first."""
    if status and status not in STATUSES:
        raise typer.BadParameter(f"choose from {', '.join(STATUSES)}", param_hint="--status")
    request = KeyList(VERSION, organization=organization, status=status, name=name)
    rows = ledger_of(config, data).pages(sys.maxsize, request)
    columns = ("id", "name", "profile", "providers", "status", "posted_nano", "created")
    show.many(
        rows, as_json, columns, title="Keys", empty="No keys yet. Make one: tokn key create --balance 5"
    )


@key_app.command("show")
def key_show(
    key: KeyArgument,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show one key."""
    asked = ledger_of(config, data)
    request = KeyRef(VERSION, key_id(asked, key))
    show.one(_one(asked.ask(KEY_SHOW, request)), as_json, "Key")


@key_app.command("revoke")
def key_revoke(
    key: KeyArgument,
    idempotency_key: IdempotencyKey = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Revoke one key: calls with it are refused from now on, calls in flight are still billed."""
    asked = ledger_of(config, data)
    row = asked.act("key_revoke", KeyRef(VERSION, key_id(asked, key)), idempotency_key)
    show.one(row, as_json, "Revoked")


@app.command()
def balance(key: KeyArgument, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show a key's balance: posted, held by calls in flight, available."""
    asked = ledger_of(config, data)
    request = KeyRef(VERSION, key_id(asked, key))
    show.one(_one(asked.ask(BALANCE, request)), as_json, "Balance")


@app.command()
def usage(  # noqa: PLR0917  Typer calls it by name
    request: Annotated[
        str, typer.Argument(metavar="[REQ]", help="One call, by its x-request-id: its whole story.")
    ] = "",
    key: Annotated[str, typer.Option("--key", metavar="ID", help="Only this key's calls.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many calls at most.")] = 100,
    by: Annotated[
        str,
        typer.Option(
            metavar="A,B", help="Sums by hour, day or month, organization, key, model, provider, pool."
        ),
    ] = "",
    since: Annotated[str, typer.Option(metavar="DATE", help="Sums from this day or hour (UTC).")] = "",
    until: Annotated[str, typer.Option(metavar="DATE", help="Sums before this day or hour (UTC).")] = "",
    organization: Annotated[str, typer.Option(metavar="ORG", help="Sums of this organisation.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Sums as CSV, amounts in nano-dollars.")] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show calls and what they were billed, newest first; or all about one: its hold, its bill, and every try."""
    if request:
        row = _one(ledger_of(config, data).ask(USAGE, UsageQuery(VERSION, request_id=request)))
        if as_json:
            show.json_lines([row])
        else:
            show.story(row)
        return
    asked = ledger_of(config, data)
    named = key_id(asked, key) if key else ""
    if by or since or until or organization or as_csv:
        query = sums.query(by, since, until, named, organization)
        sums.print_sums(asked, query, as_csv=as_csv, as_json=as_json)
        return
    rows = asked.pages(limit, UsageQuery(VERSION, key_id=named))
    show.many(rows, as_json, show.CALL, title="Calls", empty="No calls yet.", shown=show.call)


@app.command()
def pools(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show each pool's workers, accounts and models, and why a model is missing."""
    rows = ledger_of(config, data).ask(POOLS, PoolsQuery()).rows
    if as_json:
        show.json_lines(rows)
        return
    columns = ("name", "provider", "workers", "inflight", "capacity", "models")
    show.table(rows, columns, title="Pools", empty="No pools are known to the ledger.")
    accounts = [{"pool": row["name"], **account} for row in rows for account in row.get("accounts", ())]
    show.table(accounts, ("pool", "id", "state", "credit_nano"), title="Accounts", empty="No accounts.")
    out = [
        {"pool": account["pool"], "account": account["id"], **model}
        for account in accounts
        for model in account.get("models", ())
    ]
    if out:
        columns = ("pool", "account", "id", "state", "until", "reason")
        show.table(out, columns, title="Models out of use at an account", empty="")
    missing = [
        {"pool": row["name"], "model": model, "why": why}
        for row in rows
        for model, why in (row.get("missing") or {}).items()
    ]
    if missing:
        title = f"{len(missing)} missing models"
        show.table(missing[:MISSING_SHOWN], ("pool", "model", "why"), title=title, empty="")


@app.command()
def surprises(
    forget: Annotated[
        str, typer.Option(metavar="POOL[/ACCOUNT]", help="Forget those of a pool, or of one account.")
    ] = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show tiers and regions that accounts served under though no hold had reckoned with them: later holds do."""
    asked = ledger_of(config, data)
    if forget:
        pool, _, account = forget.partition("/")
        asked.act("surprises_forget", SurprisesForget(VERSION, pool, account))
    rows = asked.ask(SURPRISES, SurprisesQuery()).rows
    columns = ("pool", "account", "upstream", "uplift", "request_id", "created")
    show.many(rows, as_json, columns, title="Surprises", empty="No account has served anything unforeseen.")


@app.command("first-key", hidden=True)
def first_key(
    usd: Annotated[str, typer.Argument(help="What it is given. Left out: no key is made.")] = "",
    sign_in: Annotated[bool, typer.Option("--sign-in", help="Make a token for the console, too.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make a key if there is none, and print it as JSON: the start of `tokn up` calls this.

    The ledger may still be starting: it is waited for.
    """
    asked = ledger_of(config, data)
    listed = asked.ask_patiently(KEY_LIST, KeyList(VERSION, limit=1))
    key = made = ""
    if usd and not listed.rows:
        key = keys.generate()
        amount = nano_of(usd, least=0, what="USD")
        request = KeyCreate(
            VERSION, keys.digest(key), "first", "default", amount, None, False, key[-HINT_CHARS:]
        )
        made = str(asked.act("key_create", request)["id"])
    token = ""
    if sign_in:
        # The key must not be lost for it: `tokn console login` makes another, or says why not.
        with contextlib.suppress(RefusedError, NoLedgerError):
            token = new_sign_in(asked)
    show.json_lines([{"key": key, "id": made, "sign_in": token}])
