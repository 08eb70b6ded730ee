"""What a thief of one role's credential hears of others' calls, and does to the stream of bills, on a whole deployment."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import nats
import pytest
from nats.aio.client import Client

from runtime.bus.identity import ACCOUNT, SEED_BYTES, SYSTEM, Identity, Key, role_key, seed_of
from runtime.bus.server import OPERATOR
from schemas.bus import frames
from schemas.bus.subjects import Role
from tests.fakes.caller import until
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system

CANARY = "canary-prompt-77e1"
LARGE_CHARS = 1_000_000  # travels in parts
EVERYTHING = (
    *(
        ">",
        "*",
        "*.>",
        "*.*",
        "worker.>",
        "worker.*",
        "pool.>",
        "pool.*",
        "pool.sandbox",
        "_INBOX.>",
        "_INBOX.*.>",
    ),
    *("_INBOX.*.f.>", "_INBOX.*.f.*.*.*", "_INBOX.edge.r.>", "_INBOX.worker.r.>", "_INBOX.command.r.>"),
    *("_INBOX.edge.r.*.*", "ledger.>", "ledger.*", "usage.>", "usage.*", "$JS.>", "$KV.>", "$SYS.>"),
)
QUEUES = ("", "thieves")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """One `tokn up` on the sandbox."""
    with Tokn(tmp_path_factory.mktemp("stolen") / "data") as tokn:
        yield tokn


class Thief:
    """Who has the password of one role, and listens to whatever the server lets it."""

    def __init__(self, tokn: Tokn, role: Role) -> None:
        self.data = tokn.data
        self.url = json.loads((tokn.data / "run.json").read_text())["nats_url"]
        password = json.loads((tokn.data / "secrets.json").read_text())["passwords"][role.value]
        self.who = Identity(role.value, password, secrets.token_bytes(SEED_BYTES))
        self.role = role
        self.heard: list[tuple[str, bytes]] = []

    async def connect(self) -> Client:
        """A connection."""
        return await nats.connect(
            self.url,
            user_jwt_cb=self.who.token,
            signature_cb=self.who.prove,
            error_cb=self._refused,
            inbox_prefix=f"_INBOX.{self.role.value}.r.{self.who.id}",
            allow_reconnect=False,
        )

    async def listen(self, client: Client, *more: str) -> None:
        """Asks for everything, in every way."""
        for subject in (*EVERYTHING, *more):
            for queue in QUEUES:
                await client.subscribe(subject, queue=queue, cb=self._hear)
        await client.flush()
        await client.flush()

    async def _hear(self, message: Any) -> None:
        self.heard.append((message.subject, message.data))

    async def _refused(self, _: Exception) -> None:
        """The server says so; what counts is what arrives."""


@pytest.fixture
async def thieves(deployment: Tokn) -> AsyncIterator[dict[Role, tuple[Thief, Client]]]:
    """One of each role, who listen to everything, to whatever is of the worker that there is by its name too."""
    found: dict[Role, tuple[Thief, Client]] = {}
    for role in Role:
        thief = Thief(deployment, role)
        found[role] = (thief, await thief.connect())
    # An edge hears beats: that is how a thief of two credentials learns whose subject to ask for.
    beats: list[frames.Beat] = []

    async def beat(message: Any) -> None:
        beats.append(frames.decode_beat(message.data))

    await found[Role.EDGE][1].subscribe("beat.>", cb=beat)
    await until(lambda: beats, 10, "a beat")
    victim = beats[0].worker_id
    for thief, client in found.values():
        await thief.listen(
            client, f"worker.{victim}", f"_INBOX.worker.r.{victim}.>", f"_INBOX.worker.r.{victim}.*"
        )
    yield found
    for _, client in found.values():
        await client.close()


async def served(deployment: Tokn, text: str, *, stream: bool) -> bytes:
    """The answer to a call."""
    asked = {
        "model": "tokn-sandbox",
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        "max_tokens": 60,
    }
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(
            f"{deployment.url}/v1/chat/completions",
            json=asked,
            headers={"Authorization": f"Bearer {deployment.key}"},
        )
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_nobody_hears_what_is_for_another(deployment, thieves):
    """Bodies small and large, answers, holds and bills reach none of five thieves, each with another role's password.

    What a role hears of everybody, it hears of the others too: beats, and of that role's queue its share, which these do
    not ask for.
    """
    for stream in (False, True):
        for text in (CANARY, CANARY * (LARGE_CHARS // len(CANARY))):
            assert b"sandbox" in await served(deployment, text, stream=stream)
    assert deployment.row("key", "list")["id"]
    for _, client in thieves.values():
        await client.flush()
        await client.flush()
    heard = {
        role: {subject for subject, _ in thief.heard if not subject.startswith("_INBOX.usage.r.")}
        for role, (thief, _) in thieves.items()
    }
    own = {role: thief.who.id for role, (thief, _) in thieves.items()}
    assert heard == {role: {name for name in heard[role] if own[role] in name} for role in Role}
    said = b"".join(data for thief, _ in thieves.values() for _, data in thief.heard)
    assert CANARY.encode() not in said


@pytest.mark.parametrize("role", list(Role))
async def test_nobody_changes_or_empties_the_stream_of_bills(deployment, thieves, role):
    """No role's credential purges, updates, deletes, restores or takes a message out of any stream, the ledger's neither."""
    await served(deployment, "one bill more", stream=False)
    _, ledger = thieves[Role.LEDGER]
    _, client = thieves[role]

    async def stream(name: str) -> dict[str, Any]:
        answer = await ledger.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=5)
        return json.loads(answer.data)

    names = ("USAGE", "KV_thoughts")
    before = {name: await stream(name) for name in names}
    for name in names:
        emptied = before[name]["config"] | {
            "max_age": 1_000_000,
            "duplicate_window": 1_000_000,
            "max_msgs": 1,
        }
        open_again = before[name]["config"] | {"deny_purge": False, "deny_delete": False}
        for verb, body in (
            ("UPDATE", emptied),
            ("UPDATE", open_again),
            ("CREATE", emptied),
            ("PURGE", {}),
            ("MSG.DELETE", {"seq": before[name]["state"]["first_seq"]}),
            ("DELETE", {}),
            ("RESTORE", {"config": emptied, "state": {}}),
            ("SNAPSHOT", {"deliver_subject": "_INBOX.x"}),
        ):
            await client.publish(
                f"$JS.API.STREAM.{verb}.{name}", json.dumps(body).encode(), reply="_INBOX.none"
            )
    await client.flush()
    await client.flush()
    after = {name: await stream(name) for name in names}
    for name in names:
        assert after[name]["config"] == before[name]["config"]
        assert after[name]["created"] == before[name]["created"]
        assert after[name]["state"]["first_seq"] == before[name]["state"]["first_seq"]
        assert after[name]["state"]["messages"] >= before[name]["state"]["messages"]


def proofs(thief: Thief, victim: Identity, nonce: str) -> dict[str, tuple[bytes, bytes]]:
    """The user and the signature that a thief may try; the first is what is its own."""
    password = json.loads((thief.data / "secrets.json").read_text())["passwords"][thief.role.value]
    key, stranger, own = role_key(thief.role.value, password), Key("A", bytes(32)), thief.who
    claims = {"type": "user", "issuer_account": ACCOUNT}
    everything = {"pub": {"allow": [">"]}, "sub": {"allow": [">"]}, "subs": -1, "data": -1, "payload": -1}
    signature = own.prove(nonce)
    # The operator's key follows from a name: anybody has it.
    operator, account = Key("O", seed_of("key O", OPERATOR)), Key("A", bytes(32))
    of_stranger = {"type": "user", "issuer_account": account.public}
    system = {"type": "user", "issuer_account": SYSTEM}
    return {
        "its own": (own.token(), signature),
        "another's user": (victim.token(), signature),
        "a user made for another's id": (key.token(victim.id, "worker", claims).encode(), signature),
        "more than the role": (key.token(own.id, "worker", claims | everything).encode(), signature),
        "a user that nobody signed": (stranger.token(own.id, "worker", claims).encode(), signature),
        "a user that signs itself": (Key("U", bytes(32)).token(own.id, "worker", claims).encode(), signature),
        "the signature of another moment": (own.token(), own.prove("another")),
        "no signature": (own.token(), b""),
        "the operator's user": (operator.token(own.id, "worker", claims).encode(), signature),
        "its user without an account": (
            operator.token(own.id, "worker", {"type": "user"}).encode(),
            signature,
        ),
        "its user of the system": (operator.token(own.id, "worker", system | everything).encode(), signature),
        "a new account's user": (account.token(own.id, "worker", {"type": "user"}).encode(), signature),
        "a user for a new account": (account.token(own.id, "worker", of_stranger).encode(), signature),
        "the operator's account": (
            operator.token(account.public, "new", {"type": "account"}).encode(),
            base64.urlsafe_b64encode(account.sign(nonce.encode())).rstrip(b"="),
        ),
    }


async def test_nobody_takes_more_than_its_role_signs(deployment):
    """A password makes users of its own role with key pairs of their own, and none that is another or may do more."""
    thief, victim = Thief(deployment, Role.WORKER), Thief(deployment, Role.WORKER)
    let_in = {}
    for what in proofs(thief, victim.who, ""):
        port = int(thief.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        nonce = json.loads((await reader.readline()).removeprefix(b"INFO "))["nonce"]
        token, signature = proofs(thief, victim.who, nonce)[what]
        words = {"jwt": token.decode(), "sig": signature.decode(), "verbose": False, "pedantic": False}
        writer.write(b"CONNECT " + json.dumps(words).encode() + b"\r\nPING\r\n")
        let_in[what] = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        await writer.wait_closed()
    assert let_in.pop("its own") == b"PONG\r\n"
    assert {what: line for what, line in let_in.items() if b"Authorization Violation" not in line} == {}
