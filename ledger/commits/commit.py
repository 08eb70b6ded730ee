"""Owns one commit: which rows commands and events need, what each does to the book, and its save."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ledger.commits.commands import Command
from ledger.commits.kept import Kept
from ledger.commits.ledgers import OLDER_RUNS, admitted
from ledger.commits.load_act import load_act
from ledger.commits.load_capping import load_capping, name_scopes
from ledger.commits.load_save import Applied, load, load_lapsed, load_surprises, renew, save, wanted
from ledger.commits.load_webhooks import load_endpoints
from ledger.commits.opening import write_prices
from ledger.commits.pepper import Peppers
from ledger.commits.wanted import Wanted
from ledger.prices.offers import Catalogue
from ledger.rules import holds
from ledger.rules.book import Book, Rules, scope_of
from ledger.rules.identity import Identity, Unproven
from ledger.rules.rows import Parked, Surprise
from ledger.rules.sealed import opened
from ledger.rules.settlement import problem, settle
from ledger.store.base import Store, again
from ledger.telemetry import Telemetry
from runtime.log import get_logger
from schemas.bus.usage import UsageEvent
from schemas.verbs.base import Rows

EXPIRE_MAX = 1_000  # holds in one commit
SURPRISES_AGE_MAX_MS = (
    60_000  # what other ledgers have met, or a person has forgotten, is read again so often
)
RENEW_MARGIN_MS = 5_000  # a lease that was renewed so recently is left as it is

_logger = get_logger("ledger.commit")
_encode_event = msgspec.msgpack.Encoder().encode
_DEFAULT_RULES = Rules()
OLDER = Rows(problem=OLDER_RUNS)


class Delivery(Struct, frozen=True, eq=False):
    """One message of the stream: its events, or why it has none that can be read. Sequence 0 leaves the position."""

    identity: str
    sequence: int
    events: tuple[UsageEvent, ...]
    problem: str = ""
    payload: bytes = b""


class Committer:
    """Applies commands and events to the books, one transaction a call. Calls must not overlap."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        pepper: bytes | Peppers,
        telemetry: Telemetry,
        rules: Rules = _DEFAULT_RULES,
    ) -> None:
        self.store = store
        self.catalogue = catalogue
        self.backlog = False
        self.writable = True  # the last commit went well, or a probe after it
        self._probe_name = f"probe:{secrets.token_hex(8)}"
        self._priced: float | None = None  # the connection on which price rows were written
        self._admitted: float | None = None  # the connection on which no older ledger could write
        self._surprised_ms = 0  # when surprises were read
        self._hushed: dict[str, int] = {}  # accounts of which it was told lately that they cannot pay
        self.peppers = Peppers((pepper,)) if isinstance(pepper, bytes) else pepper
        self._telemetry = telemetry
        self._rules = rules
        self._kept = Kept()

    def digest(self, key_digest: bytes) -> str:
        """What the books keep of a key: a keyed hash of the hash that an edge sends."""
        return self.peppers.digest(key_digest)

    def digests(self, key_digest: bytes) -> list[str]:
        """The same, and what the books may still have of a key that was hashed with a pepper of before."""
        return [self.peppers.digest(key_digest), *self.peppers.others(key_digest)]

    def unseal(self, endpoint: str, sealed: str) -> str:
        """A webhook endpoint's secret; empty if it was sealed under another pepper."""
        return opened(self.peppers.opening, endpoint, sealed)

    @property
    def secret(self) -> bytes:
        """What seals a place in the books, so that who is told it cannot read it: no key's hash is made with it."""
        return hashlib.sha256(b"places:" + self.peppers.scoping).digest()

    def scope(self, key_id: str) -> str:
        """What stands for a key outside the books."""
        return scope_of(self.peppers.scoping, key_id)

    async def commit(self, commands: Sequence[Command], deliveries: Sequence[Delivery] = ()) -> list[Any]:
        """The commands' answers, once everything is durable. All deliveries are of one stream.

        Raises StoreDown, StoreConflict, StoreError; nothing has happened then.
        """
        return await again(lambda: self._commit(commands, deliveries), self._telemetry.conflicts.inc)

    async def _commit(self, commands: Sequence[Command], deliveries: Sequence[Delivery]) -> list[Any]:
        started = time.perf_counter()
        digests = [
            self.digest(command.request.digest) if command.write.hashed else "" for command in commands
        ]
        events = [event for one in deliveries for event in one.events]
        problems = [problem(event) for event in events]
        names = _wanted(commands, digests)
        self._want_former(commands, digests, names)
        names.billed.update(
            event.request_id for event, why in zip(events, problems, strict=True) if why is None
        )
        names.request_ids |= names.billed
        async with self.store.write() as tx:
            book = self._book(tx.now_ms)
            self._kept.lend(book, names, tx.mark)
            connected = self.store.connected_since
            if connected != self._priced:
                # It may be another database by now, restored from before these rows: holds are about to refer to them.
                await write_prices(tx, self.catalogue.prices)
            if connected != self._priced or tx.now_ms - self._surprised_ms > SURPRISES_AGE_MAX_MS:
                self.catalogue.surprises = await load_surprises(tx)
                self._surprised_ms = tx.now_ms
            asks_newer = connected != self._admitted and any(map(_is_newer, commands))
            late = asks_newer and not await admitted(tx)  # an older ledger keeps some of them back
            await name_scopes(tx, names)
            await load(tx, book, names)
            if names.capping:
                await load_capping(tx, book, names)
            await load_endpoints(tx, book, names)
            if names.record is not None:
                await load_act(tx, book, names)
            answers = [
                OLDER if late and _is_newer(command) else command.write.answer(book, command.request, digest)
                for command, digest in zip(commands, digests, strict=True)
            ]
            settled = [_settle(book, event, why) for event, why in zip(events, problems, strict=True)]
            for one in deliveries:
                if one.problem:
                    _park(book, f"{one.identity}:{one.sequence}", 0, one.problem, one.payload)
            await save(tx, book, _applied(deliveries))
            mark = tx.mark
        self._kept.give_back(book, mark)
        self._priced = connected
        if asks_newer and not late:
            self._admitted = connected
        if book.forgotten:
            self._surprised_ms = 0
        for row in book.surprises.values():
            self.catalogue.surprises.learn(*row.key)
            _say_surprise(row)
        self._telemetry.money.booked(book.usage.new.values(), book.transfers)
        self._telemetry.committed(
            time.perf_counter() - started, commands=answers, events=settled, parked=len(book.parked)
        )
        return answers

    def _book(self, now_ms: int) -> Book:
        peppers = self.peppers
        book = Book(
            self.catalogue,
            now_ms,
            self._rules,
            backlog=self.backlog,
            scoping=peppers.scoping,
            pepper=peppers.id,
        )
        book.sealing, book.hushed = peppers.sealing, self._hushed
        return book

    def _want_former(self, commands: Sequence[Command], digests: Sequence[str], names: Wanted) -> None:
        if names.proof is not None and not isinstance(names.proof, Identity | Unproven):
            names.proof_digests = self.digests(names.proof.digest)
        if not self.peppers.several:
            return
        names.moves = self.peppers.moves
        for command, digest in zip(commands, digests, strict=True):
            if command.write.hashed:
                for former in self.peppers.others(command.request.digest):
                    names.former[former] = digest

    async def probe(self) -> None:
        """Writes one row and takes it away again: whether a commit would go well now. Raises StoreError."""
        async with self.store.write() as tx:
            await tx.execute("INSERT INTO prices (ref, body) VALUES ($1, $2)", self._probe_name, "")
            await tx.execute("DELETE FROM prices WHERE ref = $1", self._probe_name)

    async def renew(self, request_ids: set[str]) -> None:
        """Renews the leases of calls that still run."""
        async with self.store.write() as tx:
            lease_ms = tx.now_ms + self._rules.lease_ms
            margin_ms = min(RENEW_MARGIN_MS, self._rules.lease_ms // 6)
            await renew(tx, request_ids, lease_ms, lease_ms - margin_ms)

    async def expire(self, before_ms: int) -> int:
        """Ends holds whose lease ended before a moment, at most EXPIRE_MAX. Returns how many."""
        async with self.store.write() as tx:
            book = Book(self.catalogue, tx.now_ms, self._rules)
            lapsed = await load_lapsed(tx, book, before_ms, EXPIRE_MAX)
            expired = sum(holds.expire(book, hold) for hold in lapsed)
            await save(tx, book, None)
        self._telemetry.expired.inc(expired)
        self._telemetry.money.booked(book.usage.new.values(), book.transfers)
        return len(lapsed)

    async def park(self, event: UsageEvent, reason: str) -> None:
        """Puts an event aside for a person."""
        async with self.store.write() as tx:
            book = Book(self.catalogue, tx.now_ms, self._rules)
            _park(book, event.request_id, event.attempt, reason, _encode_event(event))
            await save(tx, book, None)
        self._telemetry.parked.inc()


def _is_newer(command: Command) -> bool:
    return command.write.newer is not None and command.write.newer(command.request)


def _say_surprise(row: Surprise) -> None:
    _logger.warning(
        "unpriced_uplift",
        pool=row.pool,
        account=row.account,
        upstream=row.upstream,
        uplift=row.uplift,
        request_id=row.request_id,
        effect="holds of this pool and model take its price, or the dearest of the row if it has none",
    )


def _wanted(commands: Sequence[Command], digests: Sequence[str]) -> Wanted:
    names = wanted()
    for command, digest in zip(commands, digests, strict=True):
        command.write.wants(names, command.request, digest)
    return names


def _settle(book: Book, event: UsageEvent, why: str | None) -> str:
    if why is None:
        return settle(book, event)
    _park(book, event.request_id, event.attempt, why, _encode_event(event))
    return "parked"


def _park(book: Book, request_id: str, attempt: int, reason: str, payload: bytes) -> None:
    # What cannot be believed may not even fit its columns.
    name = request_id.replace("\x00", "")[:200]
    number = attempt if 0 <= attempt < 2**31 else -1
    book.parked.append(
        Parked(request_id=name, attempt=number, reason=reason, payload=payload, created_ms=book.now_ms)
    )


def _applied(deliveries: Sequence[Delivery]) -> Applied | None:
    sequences = tuple(one.sequence for one in deliveries if one.sequence)
    return Applied(deliveries[0].identity, sequences) if sequences else None
