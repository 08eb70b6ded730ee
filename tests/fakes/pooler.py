"""Poolers between a ledger and PostgreSQL: a real PgBouncer where one is installed, and one of our own anywhere.

Ours does what PgBouncer does in transaction mode, and never gives two transactions in a row the same connection.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.fakes.ports import free_port
from tests.fakes.postgres import PASSWORD, PostgresServer

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
START_TIMEOUT_S = 20.0
KNOWN = {"user", "database", "client_encoding", "datestyle", "timezone", "application_name"}
SERVERS = 3
_NOBODY = 65534
_PLAIN = 196608  # version 3.0 of the protocol
_ASKS_FOR_TLS = 80877103
_ASKS_FOR_SCRAM = struct.pack("!I", 10)
_ENDS = b"QSH"  # query, sync, flush: after these a client waits
_ANSWERS = {b"H": b"TnE"}  # to a flush after a description; to all others the state of the transaction


class Pooler:
    """Our own: refuses parameters that it does not know, and gives each transaction the next connection."""

    def __init__(self, server: PostgresServer, database: str, *, statements: bool = False) -> None:
        self._port = server.port
        self._statements = statements  # each of them for itself: no transaction
        self._database = database
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._servers: list[asyncio.StreamWriter] = []
        self._hello = b""

    async def __aenter__(self) -> Self:
        for _ in range(SERVERS):
            await self._open_server()
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for writer in self._servers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _open_server(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        words = b"user\0postgres\0database\0" + self._database.encode() + b"\0\0"
        writer.write(struct.pack("!II", len(words) + 8, _PLAIN) + words)
        self._servers.append(writer)
        if (asked := await _message(reader))[5:9] == _ASKS_FOR_SCRAM:
            await _prove_password(reader, writer)
            asked = await _message(reader)
        self._hello = asked + await _relayed(reader, b"Z")
        self._free.put_nowait((reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._welcomed(reader, writer):
                await self._pass_on(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _welcomed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            size, version = struct.unpack("!II", await reader.readexactly(8))
            body = await reader.readexactly(size - 8)
            if version != _ASKS_FOR_TLS:
                break
            writer.write(b"N")
        if version != _PLAIN:  # a wish to cancel
            return False
        words = body.rstrip(b"\0").decode().split("\0")
        for name in words[::2]:
            if name.lower() not in KNOWN:
                writer.write(_fatal(f"unsupported startup parameter: {name}"))
                return False
        writer.write(self._hello)
        return True

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Transaction by transaction."""
        while True:
            asked = await _until_answer(reader)
            if self._statements and asked[0][5:10] == b"BEGIN":
                writer.write(_fatal("transaction blocks not allowed in statement pooling mode"))
                return
            theirs, ours = await self._free.get()
            try:
                while True:
                    ours.write(b"".join(asked))
                    until = _ANSWERS.get(asked[-1][:1], b"Z")
                    writer.write(answer := await _relayed(theirs, until))
                    if answer[-6:-1] == b"Z\0\0\0\5" and answer[-1:] == b"I":
                        break
                    asked = await _until_answer(reader)
            except BaseException:
                ours.close()  # its transaction goes with it
                await self._open_server()
                raise
            self._free.put_nowait((theirs, ours))


async def _prove_password(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """SCRAM-SHA-256 of RFC 7677, without channel binding: a server in a container asks for it, a local one trusts."""

    async def say(words: bytes) -> bytes:
        writer.write(b"p" + struct.pack("!I", len(words) + 4) + words)
        return (await _message(reader))[9:]

    def keyed(key: bytes, words: bytes) -> bytes:
        return hmac.digest(key, words, "sha256")

    mine = b"n=,r=" + secrets.token_hex(12).encode()
    theirs = await say(b"SCRAM-SHA-256\0" + struct.pack("!I", len(mine) + 3) + b"n,," + mine)
    told = dict(word.split(b"=", 1) for word in theirs.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(told[b"s"]), int(told[b"i"]))
    final = b"c=biws,r=" + told[b"r"]
    client_key = keyed(salted, b"Client Key")
    signature = keyed(hashlib.sha256(client_key).digest(), b",".join((mine, theirs, final)))
    proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
    signed = await say(final + b",p=" + base64.b64encode(proof))
    own = keyed(keyed(salted, b"Server Key"), b",".join((mine, theirs, final)))
    assert signed == b"v=" + base64.b64encode(own), "the server does not know the password either"


def _fatal(why: str) -> bytes:
    """Its last word to a client."""
    said = f"SFATAL\0C08P01\0M{why}\0\0".encode()
    return b"E" + struct.pack("!I", len(said) + 4) + said


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


async def _until_answer(reader: asyncio.StreamReader) -> list[bytes]:
    """What a client says until it waits. Raises ConnectionError at its goodbye."""
    said = []
    while True:
        message = await _message(reader)
        if message[:1] == b"X":
            raise ConnectionError("goodbye")
        said.append(message)
        if message[:1] in _ENDS:
            return said


async def _relayed(reader: asyncio.StreamReader, until: bytes) -> bytes:
    """What a server says until it waits."""
    said = b""
    while True:
        message = await _message(reader)
        said += message
        if message[:1] in until:
            return said


class PgBouncer:
    """A real one, with so few connections that transactions share them."""

    def __init__(self, server: PostgresServer, mode: str, ignored: str = "") -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tokn-pgbouncer-"))
        self._folder.chmod(0o755)  # it refuses to be root
        self._log = self._folder / "log"
        ignoring = f"ignore_startup_parameters = {ignored}\n" if ignored else ""
        (self._folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres password={PASSWORD}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = {8 if mode == 'session' else 2}\n{ignoring}"
        )

    async def __aenter__(self) -> Self:
        user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        assert PGBOUNCER is not None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PGBOUNCER, self._folder / "pgbouncer.ini"], stdout=log, stderr=log, **user
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return self
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder)
