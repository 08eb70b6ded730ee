"""Owns how a key changes while it lives: its name, what it may use, when it ends, pauses, and the secrets that open it."""

from ledger.rules import labels
from ledger.rules.book import Book
from ledger.rules.keys import (
    changed,
    draws_on,
    ending_ms,
    expiry_problem,
    key_row,
    low_problem,
    name_problem,
    names_column,
)
from ledger.rules.limits import setting
from ledger.rules.missing import missing_key
from ledger.rules.rows import Key, Status
from ledger.rules.secrets import LIVE_MAX, OVERLAP_MAX_MS, add_secret, live, secrets_of, shown_secrets
from schemas.catalogue import allowed
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.keys import KeyRotate, KeyUpdate
from schemas.verbs.limits import LimitsSet


def key_rotate(book: Book, request: KeyRotate, digest: str) -> Rows:
    """Gives a key another secret, and an end to those before. The same secret again changes nothing."""
    if len(request.digest) != 32:
        return Rows(problem="the digest is not a SHA-256")
    if not 0 <= request.overlap_ms <= OVERLAP_MAX_MS:
        return Rows(problem="the overlap must be from 0 to 30 days")
    key = book.keys.get(request.key_id)
    if key is None:
        return missing_key(request.key_id)
    if key.status == Status.REVOKED:
        return Rows(problem=f"key {key.id} is revoked, for good: make another")
    opened = book.key_of(digest)
    if opened is not None and opened is not key:
        return Rows(problem="this secret is another key's")
    known = secrets_of(book, key)
    if opened is None:
        until_ms = book.now_ms + request.overlap_ms
        before = [one for one in known if live(one, book.now_ms)]
        if request.overlap_ms and len(before) >= LIVE_MAX:
            why = f"key {key.id} has {LIVE_MAX} secrets that still open it: wait for one to end, or rotate with --overlap 0"
            return Rows(problem=why)
        for one in before:
            if not 0 < one.expires_ms <= until_ms:
                one.expires_ms = until_ms
                book.secrets.touch(one)
        known.append(add_secret(book, key, digest, request.hint))
        changed(book, key)
    return Rows((key_row(key, book.accounts[key.account_id], book.now_ms, known),))


def _update_problem(request: KeyUpdate, now_ms: int) -> str:
    if request.status not in ("", Status.ACTIVE, Status.PAUSED):
        return "a key can be active or paused"
    return (
        name_problem(request.name or "")
        or expiry_problem(ending_ms(request, now_ms) or 0, now_ms)
        or allowed.problem(request.models or ())
        or low_problem(request.low_balance_nano)
        or labels.problem(request.labels)
        or setting.problem_of(*(value or 0 for value in (request.rpm, request.tpm, request.in_flight)))
    )


def _updated(key: Key, request: KeyUpdate, now_ms: int) -> dict[str, object]:
    """What a request sets, by column."""
    asked: dict[str, object] = {}
    if request.name is not None:
        asked["name"] = request.name
    if request.providers is not None:
        asked["providers"] = names_column(request.providers or None)
    if request.models is not None:
        asked["models"] = names_column(request.models or None)
    if (expires_ms := ending_ms(request, now_ms)) is not None:
        asked["expires_ms"] = expires_ms
    if request.status:
        asked["status"] = request.status
    if request.labels is not None:
        asked["labels"] = labels.column(request.labels)
    return {name: value for name, value in asked.items() if getattr(key, name) != value}


def key_update(book: Book, request: KeyUpdate) -> Rows:
    """Changes a key that is not revoked; what is as asked already is no change."""
    key = book.keys.get(request.key_id)
    if key is None:
        return missing_key(request.key_id)
    problem = _update_problem(request, book.now_ms)
    if not problem and key.status == Status.REVOKED:
        problem = f"key {key.id} is revoked, for good: make another"
    if not problem and request.low_balance_nano is not None and draws_on(key.account_id) != "key":
        problem = f"key {key.id} has no balance of its own: set its organisation's (tokn org update)"
    if problem:
        return Rows(problem=problem)
    account = book.accounts[key.account_id]
    wanted = _updated(key, request, book.now_ms)
    version = key.version
    for name, value in wanted.items():
        setattr(key, name, value)
    lowered = book.set_low(account, request.low_balance_nano)
    if wanted or lowered:
        changed(book, key)
    if changes_limits(request):
        setting.limits_set(book, LimitsSet(VERSION, key.id, "", request.rpm, request.tpm, request.in_flight))
        key.version = min(key.version, version + 1)  # it is one change
    return Rows((key_row(key, account, book.now_ms, shown_secrets(book, key)),))


def changes_limits(request: KeyUpdate) -> bool:
    """Whether an update has a word on limits: then it needs all that counts in them."""
    return any(one is not None for one in (request.rpm, request.tpm, request.in_flight))
