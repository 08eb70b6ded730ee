"""What is true of every verb: it has one row, one answer, messages that survive the wire, and askers that may ask."""

import datetime as dt
import types
import typing
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest
from msgspec import Struct, structs

from ledger.commits.commands import Command, Write
from ledger.verbs import ANSWERS
from ledger.verbs.base import Acts, Read, Renewal, Services
from ledger.verbs.dispatch import Requests
from runtime.bus.bus import Message
from schemas.admin.credentials import ManagementKey
from schemas.admin.verbs import CONSOLE_WRITE, ConsoleWrite
from schemas.bus.subjects import is_token
from schemas.every_verb import EVERY_VERB
from schemas.permissions import PERMISSIONS
from schemas.verbs.acts import ACT
from schemas.verbs.base import Verb, encode
from schemas.verbs.money import WriteOff
from tests.ledger.harness import act

# Whose form is an act's, which is in it as bytes.
ACTS = {
    ACT.name: act("write_off", WriteOff(7)),
    CONSOLE_WRITE.name: ConsoleWrite(1, "write_off", encode(WriteOff(7)), ManagementKey(b"d")),
}
every_verb = pytest.mark.parametrize("verb", EVERY_VERB, ids=lambda verb: verb.name)


def sample(kind: Any) -> Any:
    """Some value of a type, with every field that has no default."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return sample(inner[0])
    if origin is tuple:
        return (sample(inner[0]),)
    if origin is dict:
        return {sample(inner[0]): sample(inner[1])}
    if issubclass(kind, Enum):
        return next(iter(kind))
    if issubclass(kind, Struct):
        needed = [one for one in structs.fields(kind) if one.required]
        return kind(**{one.name: sample(one.type) for one in needed})
    plain = {
        int: 7,
        str: "s",
        bytes: b"b",
        bool: True,
        Decimal: Decimal("0.60"),
        dt.date: dt.date(2026, 1, 2),
    }
    return plain.get(kind, "any")


def kinds(reply: Any) -> tuple[Any, ...]:
    """The types that a reply can have."""
    return typing.get_args(reply) if isinstance(reply, types.UnionType) else (reply,)


def test_names_are_unique_and_fit_a_subject() -> None:
    """No two verbs have one name, and each name is one token of a subject."""
    names = [verb.name for verb in EVERY_VERB]
    assert len(set(names)) == len(names)
    assert all(is_token(name) for name in names)


def test_every_verb_has_one_answer() -> None:
    """A ledger answers exactly the verbs that can be asked, each once, in the order of their rows."""
    assert [one.verb for one in ANSWERS] == list(EVERY_VERB)


@every_verb
def test_a_request_survives_the_wire(verb: Verb[Any, Any]) -> None:
    """What an asker encodes is what a ledger decodes, and a later version's added fields do no harm."""
    request = sample(verb.form)
    data = encode(request)
    assert verb.form_decoder.decode(data) == request
    later = msgspec.msgpack.encode([*msgspec.msgpack.decode(data), "a field of a later version"])
    assert verb.form_decoder.decode(later) == request


@every_verb
def test_a_reply_survives_the_wire(verb: Verb[Any, Any]) -> None:
    """Every kind of reply that a ledger encodes is what an asker decodes."""
    for kind in kinds(verb.reply):
        reply = sample(kind)
        assert verb.reply_decoder.decode(encode(reply)) == reply


@every_verb
def test_a_verb_has_askers_who_may_ask(verb: Verb[Any, Any]) -> None:
    """Some role may ask each verb, and only its roles may."""
    assert verb.roles
    assert {role for role, allowed in PERMISSIONS.items() if verb.subject in allowed.publish} == set(
        verb.roles
    )


class _Writer:
    """Remembers what was given to the writer."""

    def __init__(self) -> None:
        self.submitted: list[Command] = []
        self.renewed: list[Any] = []

    def submit(self, command: Command, _answer: Any) -> None:
        self.submitted.append(command)

    def renew(self, request: Any, _answer: Any) -> None:
        self.renewed.append(request)


class _Bus:
    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(self, subject: str, data: bytes) -> None:
        self.published.append((subject, data))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: one.verb.name)
async def test_what_changes_the_books_goes_through_the_writer(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb's row says whether it writes: then the writer has the request, and else it never hears of it."""
    verb, read = answer.verb, []

    async def reads(_services: Any, request: Any) -> Any:
        read.append(request)
        return sample(kinds(verb.reply)[0])

    stood_in = tuple(structs.replace(one, answer=reads) if isinstance(one, Read) else one for one in ANSWERS)
    monkeypatch.setattr("ledger.verbs.dispatch.ANSWERS", stood_in)
    writer, bus = _Writer(), _Bus()
    requests = Requests(bus, writer, typing.cast("Services", None), typing.cast("Any", None))
    request = ACTS.get(verb.name) or sample(verb.form)
    requests.on_message(Message(verb.subject, "_INBOX.edge.r.1", encode(request)))
    while requests._reads:
        await next(iter(requests._reads))
    if isinstance(answer, Write):
        assert [(one.write, one.request) for one in writer.submitted] == [(answer, request)]
    elif isinstance(answer, Acts):
        form = WriteOff(7) if verb.name in ACTS else request
        assert [one.request.form for one in writer.submitted] == [form]
        assert writer.submitted[0].write.alone
    elif isinstance(answer, Renewal):
        assert writer.renewed == [request]
    else:
        assert [subject for subject, _ in bus.published] == ["_INBOX.edge.r.1"]
        assert read == [request]
    assert bool(writer.submitted or writer.renewed) == verb.writes
    assert verb.writes != bool(bus.published)
