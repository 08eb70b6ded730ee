"""The books in a test: a store, a clock that tests turn, and the verbs as short calls."""

import asyncio
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from ledger.acts.expiry import expire_lots
from ledger.commits.commands import Command, Write
from ledger.commits.commit import Committer, Delivery
from ledger.commits.opening import write_catalogue
from ledger.commits.writer import Writer
from ledger.prices.offers import Catalogue
from ledger.rules.book import Book, Rules
from ledger.rules.rows import Account, AccountKind, Key, Status
from ledger.store.base import Store
from ledger.telemetry import Telemetry
from ledger.verbs import ANSWERS
from ledger.verbs.audit import audit
from ledger.verbs.base import Acts
from ledger.verbs.caps import cap_list
from ledger.verbs.keys import balance
from ledger.verbs.money import credits_page
from ledger.verbs.usage import usage
from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus.subjects import new_id
from schemas.bus.usage import Known, Outcome, Try, UsageEvent
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.money.pricing import NO_USAGE, TokenUsage, charge
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import encode
from schemas.verbs.calls import Authorise, Estimate, Hold, Reattempt, Release
from schemas.verbs.caps import CapCreate, CapList, NewCap
from schemas.verbs.keys import Credit, KeyCreate, KeyRef
from schemas.verbs.money import CreditsQuery
from schemas.verbs.usage import UsageQuery

USD = 1_000_000_000
MODEL = "gpt-4o"  # 2.50 in, 10.00 out, 1.25 cached, at 0.60
POOLS = (
    PoolSettings(
        name="openai",
        provider="openai",
        accounts=(AccountSettings(id="main", credit_nano=1000 * USD), AccountSettings(id="spare")),
    ),
)
TABLES = (
    "key_secrets",
    "api_keys",
    "profiles",
    "accounts",
    "transfers",
    "rates",
    "holds",
    "candidates",
    "caps",
    "cap_periods",
    "usage",
    "usage_hours",
    "usage_days",
    "usage_totals",
    "rollups",
    "models",
    "prices",
    "upstream_accounts",
    "stream_positions",
    "stream_ranges",
    "parked_events",
    "credits",
    "topups",
    "topup_claims",
    "audit_entries",
    "audit_head",
    "events",
    "webhook_endpoints",
    "deliveries",
    "told",
    "operators",
    "management_keys",
    "sessions",
    "sign_in_tokens",
    "sign_in_nonces",
    "statements",
    "statement_lines",
)


_WRITES = {one.verb.form: one for one in ANSWERS if isinstance(one, Write)}
_ACTS = {one.verb.form: one.command for one in ANSWERS if isinstance(one, Acts)}


def command(request: Any) -> Command:
    """A request with its verb: no two verbs that write have one form."""
    if type(request) in _ACTS:
        made = _ACTS[type(request)](request)
        assert isinstance(made, Command), made
        return made
    return Command(_WRITES[type(request)], request)


def act(name: str, form: Any, *, key: str = "", actor: str = "tests", credential: bytes = b"") -> ActRequest:
    """A request for an act."""
    return ActRequest(1, name, encode(form), key, actor, credential)


class Clock:
    """Unix milliseconds that stand still until a test turns them."""

    def __init__(self) -> None:
        self.ms = 1_795_000_000_000

    def __call__(self) -> int:
        """Now."""
        return self.ms

    def turn(self, seconds: float) -> None:
        """Time passes."""
        self.ms += int(seconds * 1000)


def digest_of(name: str) -> bytes:
    """What an edge would send of a key."""
    return hashlib.sha256(name.encode()).digest()


def event(
    request_id: str,
    usage: TokenUsage = NO_USAGE,
    *,
    attempt: int = 1,
    outcome: Outcome = Outcome.OK,
    known: Known = Known.REPORTED,
    tries: Sequence[Try] | None = None,
    account: str = "main",
    uplifts: tuple[str, ...] = (),
    candidate: int = 0,
    gives_way: bool = False,
) -> UsageEvent:
    """A worker's event; its one try used what the caller is billed for, unless told."""
    if tries is None:
        tries = (
            Try(
                account=account,
                upstream=MODEL,
                outcome=outcome,
                status=200,
                known=known,
                usage=usage,
                uplifts=uplifts,
            ),
        )
    return UsageEvent(
        request_id=request_id,
        attempt=attempt,
        worker_id="w1",
        pool="openai",
        provider="openai",
        outcome=outcome,
        known=known,
        usage=usage,
        uplifts=uplifts,
        tries=tuple(tries),
        duration_ms=1200,
        finished_ms=1_795_000_001_000,
        candidate=candidate,
        gives_way=gives_way,
    )


def price_of(model: str = MODEL) -> Any:
    """The built-in price row of a model."""
    return next(one for one in BUILTIN if one.id == model).prices[0]


def billed(usage: TokenUsage, model: str = MODEL, rate: str = "0.60") -> int:
    """What a caller pays, computed the slow way."""
    return charge(usage, price_of(model), Decimal(rate))


def listed(usage: TokenUsage, model: str = MODEL) -> int:
    """List price."""
    return charge(usage, price_of(model), Decimal(1))


class Books:
    """A ledger without a bus."""

    def __init__(self, store: Store, clock: Clock, models: tuple[Model, ...] = BUILTIN) -> None:
        self.store = store
        self.clock = clock
        self.telemetry = Telemetry(CollectorRegistry())
        self.committer = Committer(store, Catalogue(models), b"pepper", self.telemetry, Rules())
        self._writing: asyncio.Task[None] | None = None
        self.writer = Writer(self.committer, self.telemetry)
        self.sequence = 0

    @classmethod
    async def open(cls, store: Store, clock: Clock, models: tuple[Model, ...] = BUILTIN) -> "Books":
        """Books with the catalogue written."""
        await write_catalogue(store, models, POOLS)
        return cls(store, clock, models)

    async def do(self, request: Any) -> Any:
        """One request in a commit of its own."""
        return (await self.commit([request]))[0]

    async def commit(self, requests: Sequence[Any], deliveries: Sequence[Delivery] = ()) -> list[Any]:
        """Requests and deliveries in one commit."""
        commands = [command(request) for request in requests]
        if not any(one.write.alone for one in commands):
            return await self.committer.commit(commands, deliveries)
        answers = [(await self.committer.commit([one]))[0] for one in commands]
        if deliveries:
            await self.committer.commit([], deliveries)
        return answers

    async def act(self, name: str, form: Any, **fields: Any) -> Any:
        """An act in its own commit."""
        return await self.do(act(name, form, **fields))

    async def key(self, name: str = "key", nano: int = 5 * USD, **fields: Any) -> str:
        """Makes a key; returns its id."""
        defaults = {"providers": None, "playground": False, "profile": "", "wallet": False} | fields
        reply = await self.do(
            KeyCreate(
                v=1,
                digest=digest_of(name),
                name=name,
                profile=defaults["profile"],
                posted_nano=nano,
                providers=defaults["providers"],
                playground=defaults["playground"],
                wallet=defaults["wallet"],
            )
        )
        assert not reply.problem, reply
        return str(reply.rows[0]["id"])

    def request(
        self,
        request_id: str,
        key: str = "key",
        *,
        model: str = MODEL,
        prompt: int = 100,
        choices: int = 1,
        limit: int | None = 100,
        prompts: int = 1,
        uplifts: tuple[str, ...] = (),
    ) -> Authorise:
        """A request for a hold."""
        return Authorise(
            v=1,
            request_id=request_id,
            digest=digest_of(key),
            model=model,
            prompt_max=prompt,
            choices=choices,
            limit=limit,
            prompts=prompts,
            uplifts=uplifts,
        )

    async def authorise(self, request_id: str, key: str = "key", **fields: Any) -> Any:
        """A hold or a refusal."""
        return await self.do(self.request(request_id, key, **fields))

    async def hold(self, request_id: str, key: str = "key", **fields: Any) -> Hold:
        """A hold."""
        reply = await self.authorise(request_id, key, **fields)
        assert isinstance(reply, Hold), reply
        return reply

    async def settle(self, *events: UsageEvent) -> None:
        """Applies events in one message of the stream."""
        self.sequence += 1
        await self.committer.commit([], [Delivery("stream", self.sequence, events)])

    async def release(self, hold: Hold) -> bool:
        """Releases a hold."""
        return bool((await self.do(Release(1, hold.request_id, hold.token))).ok)

    async def estimate(
        self, hold: Hold, usage: TokenUsage, *, attempt: int = 1, failed: bool = False
    ) -> bool:
        """Settles by an edge's estimate."""
        return bool(
            (
                await self.do(
                    Estimate(
                        v=1,
                        request_id=hold.request_id,
                        token=hold.token,
                        attempt=attempt,
                        usage=usage,
                        failed=failed,
                    )
                )
            ).ok
        )

    async def reattempt(self, hold: Hold, attempt: int, replaced: TokenUsage = NO_USAGE) -> bool:
        """Makes another attempt the current one."""
        return bool((await self.do(Reattempt(1, hold.request_id, hold.token, attempt, replaced))).ok)

    async def credit(
        self, request_id: str, nano: int, *, key_id: str = "", profile: str = "", organization: str = ""
    ) -> Any:
        """Adds to a balance."""
        return await self.do(Credit(1, request_id, nano, key_id, profile, organization))

    async def cap(self, nano: int, period: str = "day", *, organization: str = "", **fields: Any) -> str:
        """Makes a cap of a key (`key_id`), or of an organisation. Returns its id."""
        key_id = fields.pop("key_id", "")
        cap = NewCap(fields.pop("cap_id", new_id("cap_")), period, nano, **fields)
        reply = await self.do(CapCreate(1, cap, key_id, organization))
        assert not reply.problem, reply.problem
        return str(reply.rows[0]["id"])

    async def period(self, cap_id: str) -> tuple[int, int]:
        """Spent and held in a cap's current period."""
        rows = (await cap_list(self.store, CapList(1))).rows
        current = next(row["current"] for row in rows if row["id"] == cap_id)
        return current["spent_nano"], current["held_nano"]

    async def revoke(self, key_id: str) -> Any:
        """Revokes a key."""
        return await self.do(KeyRef(1, key_id))

    async def expire(self) -> int:
        """Ends the holds whose lease has run out, without the guards."""
        return await self.committer.expire(self.clock.ms)

    async def events(self, *types: str) -> list[dict[str, Any]]:
        """The outbox in its order, of some types or all: each with its body's data."""
        rows = await self.store.fetch(
            "SELECT id, type, organization, object, body, endpoint, again FROM events ORDER BY seq"
        )
        names = ("id", "type", "organization", "object", "body", "endpoint", "again")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for one in found:
            one["data"] = msgspec.json.decode(one.pop("body"))["data"]["object"]
        return [one for one in found if not types or one["type"] in types]

    async def balance(self, key_id: str) -> tuple[int, int]:
        """Posted and held."""
        row = (await balance(self.store, key_id)).rows[0]
        return row["posted_nano"], row["held_nano"]

    async def lots(self, key_id: str) -> list[int]:
        """What is left of a key's lots, those with something, newest first."""
        async with self.store.snapshot() as snapshot:
            rows = (await credits_page(snapshot, CreditsQuery(owner=f"key:{key_id}", limit=200))).rows
        return [row["remaining_nano"] for row in rows if row["remaining_nano"]]

    async def expire_lots(self) -> None:
        """Ends the lots whose date has come."""
        await expire_lots(self.store)

    async def account(self, account_id: str) -> int:
        """What an account has."""
        rows = await self.store.fetch("SELECT posted_nano FROM accounts WHERE id = $1", account_id)
        return int(rows[0][0]) if rows else 0

    async def usage(self, key_id: str = "") -> list[dict[str, Any]]:
        """The calls, newest first."""
        return list((await usage(self.store, UsageQuery(1, key_id, 1000))).rows)

    async def audit(self) -> dict[str, Any]:
        """The proof."""
        async with self.store.snapshot() as snapshot:
            return await audit(snapshot, None)

    async def check(self) -> dict[str, Any]:
        """Asserts that every invariant holds."""
        proof = await self.audit()
        assert proof["ok"], proof["findings"]
        return proof

    async def state(self) -> list[Any]:
        """Everything that money depends on, to compare byte for byte."""
        accounts = await self.store.fetch("SELECT id, posted_nano, held_nano FROM accounts ORDER BY id")
        usage = await self.store.fetch(
            "SELECT request_id, slot, billed_nano, cost_nano, uncollected_nano, outcome, known FROM usage "
            "ORDER BY request_id, slot"
        )
        return [tuple(row) for row in (*accounts, *usage)]

    def start(self) -> Writer:
        """Runs the writer."""
        self._writing = asyncio.ensure_future(self.writer.run())
        return self.writer

    async def close(self) -> None:
        """Ends the writer and the store."""
        if self._writing is not None:
            self.writer.stop()
            await self._writing
        await self.store.close()


async def ask(writer: Writer, request: Any) -> Any:
    """The answer to a request through the writer."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    writer.submit(command(request), future.set_result)
    return await asyncio.wait_for(future, 60)


def lone_book(models: tuple[Model, ...], nano: int) -> Book:
    """A book in memory, with some money of the only key: `k`, of the digest `d`."""
    book = Book(Catalogue(models), 1_795_000_000_000, Rules())
    book.accounts.load([Account(id="key:k", kind=AccountKind.METERED, posted_nano=nano, held_nano=0)])
    key = Key(
        id="k",
        digest="d",
        name="",
        profile="",
        account_id="key:k",
        providers="",
        playground=False,
        status=Status.ACTIVE,
        created_ms=0,
        revoked_ms=0,
    )
    book.keys.load([key])
    return book
