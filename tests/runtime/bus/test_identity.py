"""Who a connection is, and what nats-server is told of roles: keys that follow from passwords, and no password."""

import base64
import binascii
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from runtime.bus.bus import Bus
from runtime.bus.identity import ACCOUNT, Identity, Key, role_key
from runtime.bus.server import ServerOptions, adopt, binary, main, render
from schemas.bus import subjects
from schemas.bus.subjects import Role, is_token
from tests.fakes.nats import NatsServer

PASSWORDS = {role.value: f"secret-of-{role.value}" for role in Role}


def options(folder, passwords=PASSWORDS, **more) -> ServerOptions:
    """A server's."""
    return ServerOptions(port=4222, store=folder, passwords=passwords, **more)


def raw(public: str) -> bytes:
    """The bytes of a public key, whose letter and checksum are as NATS has them."""
    data = base64.b32decode(public + "=" * (-len(public) % 8))
    assert binascii.crc_hqx(data[:-2], 0).to_bytes(2, "little") == data[-2:]
    return data[1:-2]


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_user_is_signed_by_its_role():
    """The user names its own public key, the role's key has signed it, and its own key signs what the server makes up."""
    made = Identity("worker", "a password", bytes(range(32)))
    head, body, signature = made.token().decode().split(".")
    claims = json.loads(unpadded(body))
    signer = role_key("worker", "a password").public
    assert (claims["iss"], claims["sub"]) == (signer, made.id)
    assert claims["nats"] == {"type": "user", "issuer_account": ACCOUNT, "version": 2}
    Ed25519PublicKey.from_public_bytes(raw(signer)).verify(unpadded(signature), f"{head}.{body}".encode())
    Ed25519PublicKey.from_public_bytes(raw(made.id)).verify(unpadded(made.prove("nonce").decode()), b"nonce")
    assert is_token(made.id)
    assert (signer[0], made.id[0], ACCOUNT[0]) == ("A", "U", "A")


def test_each_role_and_password_has_a_key_of_its_own():
    """Another role, another password, or the two cut elsewhere, and the key is another; the same, and it is the same."""
    pairs = [("worker", "a"), ("usage", "a"), ("worker", "b"), ("worker.p", "a"), ("worker", ".p a")]
    keys = [role_key(*pair).public for pair in pairs]
    assert len(set(keys)) == len(pairs)
    assert [role_key(*pair).public for pair in pairs] == keys
    assert len({Key(letter, bytes(32)).public for letter in "AOU"}) == 3


@pytest.mark.parametrize("signed", [True, False])
def test_the_configuration_is_the_servers_own_and_follows_from_the_passwords(tmp_path, signed):
    """nats-server takes it; written again it is the same; signed, no password stands in it; a role without one is an error."""
    config = tmp_path / "nats.conf"
    config.write_text(render(options(tmp_path, signed=signed)))
    subprocess.run([binary(), "-t", "-c", config], check=True, capture_output=True)
    assert render(options(tmp_path, signed=signed)) == config.read_text()
    shown = [password for password in PASSWORDS.values() if password in config.read_text()]
    assert shown == ([] if signed else list(PASSWORDS.values()))
    with pytest.raises(KeyError, match="ledger"):
        render(options(tmp_path, {k: v for k, v in PASSWORDS.items() if k != "ledger"}, signed=signed))
    later = PASSWORDS | {"role-of-a-later-version": "x"}
    assert "role-of-a-later-version" not in render(options(tmp_path, later, signed=signed))


@pytest.mark.parametrize("signed", [True, False])
async def test_a_connection_knows_whether_the_server_knows_it(signed):
    """Two connections of a role have ids of their own; on a server with users by password they connect all the same."""
    with NatsServer(signed=signed) as server:
        buses = [
            await Bus.connect(server.settings(Role.WORKER), Role.WORKER, name="t", on_closed=lambda: None)
            for _ in range(2)
        ]
        assert buses[0].id != buses[1].id
        assert all(is_token(bus.id) and bus.signed is signed for bus in buses)
        for bus in buses:
            await bus.subscribe(subjects.control(bus.id), lambda _: None)
            await bus.close()


async def test_what_was_stored_before_there_was_an_account_is_kept(tmp_path):
    """A stream of a server with users by password is the same on one that signs users: identity, messages, what was read."""
    with NatsServer(tmp_path, signed=False) as server:
        client, _ = await server.client("admin")
        stream = client.jetstream()
        made = await stream.add_stream(name="USAGE", subjects=["usage.>"])
        pulled = await stream.pull_subscribe("usage.>", durable="ledger")
        for number in range(5):
            await stream.publish("usage.p", b"%d" % number)
        for message in await pulled.fetch(2, timeout=5):
            await message.ack_sync()
        await client.close()
        server.stop()
    (tmp_path / "store").rename(tmp_path / "kept")
    with NatsServer(tmp_path) as server:
        server.stop()
        server.store.rename(tmp_path / "unused")
        (tmp_path / "kept").rename(server.store)
        adopt(server.store)
        adopt(server.store)
        server.start()
        client, _ = await server.client("admin")
        stream = client.jetstream()
        found = await stream.stream_info("USAGE")
        assert (found.state.messages, found.created) == (5, made.created)
        floor = (await stream.consumer_info("USAGE", "ledger")).ack_floor
        assert floor.stream_seq == 2
        pulled = await stream.pull_subscribe_bind("ledger", "USAGE")
        assert [message.data for message in await pulled.fetch(3, timeout=5)] == [b"2", b"3", b"4"]
        await client.close()


@pytest.mark.parametrize("more", [(), ("--passwords",)])
def test_a_cluster_is_told_what_follows_from_its_credentials(tmp_path, capsys, more):
    """The command prints what each server gets, of a file as services read it; without a role it says which is missing."""
    path = tmp_path / "nats"
    users = PASSWORDS | {"worker.openai": "secret-of-one", "usage.openai": "secret-of-another"}
    path.write_text("# roles\n\n" + "".join(f"{user} {password}\n" for user, password in users.items()))
    assert main([*more, str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed == render(options(Path("/data"), users, host="0.0.0.0", signed=not more))
    path.write_text("edge x\n")
    assert main([str(path)]) == 2
    assert "command, console, ledger, usage, worker" in capsys.readouterr().err
    assert main([]) == 2
