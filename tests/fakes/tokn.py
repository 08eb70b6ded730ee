"""Owns a real `tokn up` for tests: starts it, reads what it prints, runs commands on it, and leaves no process behind."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from tests.fakes import collected, forked
from tests.fakes.books import path_of, read
from tests.fakes.commands import Commands
from tests.fakes.ports import free_port

TOKN = (sys.executable, "-m", "tokn")
ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
STOP_S = 10.0
COMMAND_S = 60.0
CHILDREN = ("edge", "worker", "ledger", "nats-server")
LOADED = (  # what commands and services read at their start, and what most of them read later
    "tokn.cli",
    "tokn.up",
    "tokn.services",
    "edge.app",
    "workers.app",
    "ledger.app",
    "ledger.store.sqlite",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "rich.console",
    "rich.table",
    forked.MODULE,
)
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
KEY = re.compile(r"tokn_[0-9A-Za-z]{38}")


class CommandError(Exception):
    """A `tokn` command that ended with another exit code than 0."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(f"exit code {code}: {stderr.strip()}")
        self.code = code
        self.stderr = stderr


def wait_for(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first truthy answer of a condition that is asked every 20 ms. Raises TimeoutError after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {what}")
        threading.Event().wait(0.02)


def status(port: int, path: str) -> int:
    """The status of a GET without a key; 0 when nothing answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: tokn\r\nConnection: close\r\n\r\n".encode())
            head = link.recv(64)
    except OSError:
        return 0
    return int(head.split()[1]) if head.startswith(b"HTTP/") else 0


def environment(**more: str) -> dict[str, str]:
    """The environment for a child: nothing that configures tokn or names a provider's credentials."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}  # noqa: TID251  a child gets this much of the tests' environment
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **more}


def run(
    *arguments: str,
    timeout_s: float = COMMAND_S,
    program: Sequence[str] = TOKN,
    folder: Path | None = None,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Runs `tokn` with some arguments to its end, or another tree's in a folder that is no tree."""
    return subprocess.run(
        [*program, *arguments],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(**env),
    )


_commands: list[Commands] = []


def commands() -> Commands:
    """The process of this test process that forks commands and services."""
    if not _commands:
        _commands.append(Commands(environment(), ROOT, *LOADED))
    return _commands[0]


def ask(*arguments: str, timeout_s: float = COMMAND_S, **env: str) -> subprocess.CompletedProcess[str]:
    """As `run`, at a fraction of its cost."""
    return commands().run(arguments, environment(**env), timeout_s)


class Tokn:
    """One `tokn up` with its data folder. Use as a context manager; `key` is empty on a restart.

    Its books are in the folder, or with a `config` at `database_url`. Its processes are forked, unless it has a
    `program`, with which it is started as people do.
    """

    program: tuple[str, ...] = ()
    console = False  # it is a process more to start: those that are not about it run without
    forks: tuple[str, ...] = (forked.MODULE,)  # whose `main` it is, and the words before `up`
    process: subprocess.Popen[str] | forked.Forked

    def __init__(
        self, data: Path, config: str | None = None, *, port: int = 0, database_url: str = "", **env: str
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self.config = data.parent / f"{data.name}.toml" if config is not None else None
        self._books = database_url  # where they are; found with the first read of those in the folder
        if self.config is not None and config is not None:
            address = f'[ledger]\ndatabase_url = "{database_url}"\n' if database_url else ""
            self.config.write_text(address + config)
        self.log = data.parent / f"{data.name}.log"
        self.env = env
        self.written_off: set[str] = set()
        self._seen: dict[int, psutil.Process] = {}
        self.start()

    def start(self) -> None:
        """Starts it (again, after an end) and returns when every route is ready."""
        options = ["--config", str(self.config)] if self.config else []
        self.lines = []
        self.started = time.monotonic()
        if not self.console:
            options.append("--no-console")
        words = ("up", "--port", str(self.port), "--data", str(self.data), *options)
        with self.log.open("ab") as log:
            if not self.program and sys.platform == "linux":
                module, *before = self.forks
                told = (*before, *words)
                env, folder = environment(**self.env), self.data.parent
                self.process = forked.Forked(commands(), module, told, env, folder=folder, err=log.fileno())
            else:
                self.process = subprocess.Popen(
                    [*(self.program or TOKN), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=self.data.parent,
                    env=environment(**self.env),
                    start_new_session=True,
                )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            wait_for(lambda: self.process.poll() is not None or self.ready(), START_S, "tokn up is ready")
        except TimeoutError as problem:
            problem.add_note(self.log.read_text()[-4_000:])
            self.close()
            raise
        if self.process.poll() is not None:
            self._reader.join(5)
            raise CommandError(self.process.returncode, self.log.read_text()[-4_000:])
        self.ready_s = time.monotonic() - self.started
        self.tree()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))

    def ready(self) -> bool:
        """Whether `/readyz` says 200 now."""
        return self.get("/readyz") == 200

    def get(self, path: str) -> int:
        """The status of a GET without a key; 0 when nothing answers."""
        return status(self.port, path)

    @property
    def key(self) -> str:
        """The key that the first start printed."""
        found = wait_for(lambda: KEY.search("\n".join(self.lines)), 20, "a key on stdout")
        return str(found.group())

    @property
    def curl(self) -> str:
        """The one line with curl that the first start printed."""
        return str(
            wait_for(
                lambda: next((line.strip() for line in self.lines if "curl " in line), None), 5, "a curl line"
            )
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command on this deployment, to its end, whatever its exit code."""
        return ask(*arguments, TOKN_DATA=str(self.data), **self.env)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON objects that a command prints. Raises CommandError unless its exit code is 0."""
        done = self.run(*arguments, "--json")
        if done.returncode:
            raise CommandError(done.returncode, done.stderr or done.stdout)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def row(self, *arguments: str) -> dict[str, Any]:
        """The one JSON object that a command prints."""
        (only,) = self.rows(*arguments)
        return only

    def audit(self) -> dict[str, Any]:
        """The audit's answer, whether the books balance or not."""
        return dict(json.loads(self.run("audit", "--json").stdout))

    def key_id(self) -> str:
        """The id of the first key."""
        return str(self.rows("key", "list")[0]["id"])

    def balance(self, key_id: str) -> dict[str, int]:
        """posted_nano, held_nano and available_nano of a key."""
        return self.row("balance", key_id)

    def settled(self, key_id: str, within_s: float = 10) -> dict[str, int]:
        """The balance once nothing of it is held. The books are looked at until then: a command is dearer than most calls."""
        held = (
            f"SELECT held_nano FROM accounts a JOIN api_keys k ON a.id = k.account_id WHERE k.id = '{key_id}'"
        )

        def rested() -> dict[str, int] | None:
            if self.read(held) != [(0,)]:
                return None
            now = self.balance(key_id)
            return now if now["held_nano"] == 0 else None

        return dict(wait_for(rested, within_s, f"nothing of {key_id} is held"))

    def tree(self) -> list[psutil.Process]:
        """`tokn up` and everything below it, alive now."""
        try:
            root = psutil.Process(self.process.pid)
            found = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        for process in found:
            self._seen.setdefault(process.pid, process)
        return found

    def children(self, name: str) -> list[psutil.Process]:
        """The live processes of one kind: edge, worker, ledger or nats-server."""
        return [process for process in self.tree()[1:] if process_name(process) == name]

    def child(self, name: str) -> psutil.Process:
        """The first live process of one kind, waited for."""
        return wait_for(lambda: self.children(name), 10, f"a {name}")[0]

    def kill(self, name: str, sign: int = signal.SIGKILL) -> psutil.Process:
        """Sends a signal to one child (or to `up` itself) and says which process it was."""
        target = self.tree()[0] if name == "up" else self.child(name)
        target.send_signal(sign)
        return target

    def stop(self, sign: int = signal.SIGTERM) -> tuple[int, float]:
        """Stops it by a signal: its exit code and the seconds it took."""
        self.tree()
        begun = time.monotonic()
        self.process.send_signal(sign)
        code = self.process.wait(STOP_S * 4)
        return code, time.monotonic() - begun

    def orphans(self) -> list[psutil.Process]:
        """Processes of this deployment that are alive though `tokn up` has ended."""
        return [process for process in self._seen.values() if alive(process)]

    def close(self) -> None:
        """Ends whatever is left of it; only processes that it started."""
        self.tree()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_S)
        for process in self.orphans():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._reader.join(5)

    def read(self, sql: str) -> Sequence[Sequence[Any]]:
        """Rows of the books, read past the ledger; it may have stopped, or never have had any."""
        if not self._books:
            if not any(self.data.rglob("*.db")):
                return []
            self._books = f"sqlite:///{path_of(self.data)}"
        return read(self._books, sql)

    def __enter__(self) -> Self:
        collected.opened(self)
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        try:
            collected.closing(self, failed=problem is not None)
        finally:
            self.close()


class StartedTokn(Tokn):
    """As people start it: for tests of its starts, its memory, its environment, and of what the process list shows."""

    program = TOKN


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs: neither ended nor a zombie, and its pid not another's by now."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def process_name(process: psutil.Process) -> str:
    """edge, worker, ledger, nats-server, or the empty text: by the name in the process list."""
    try:
        called, words = process.name(), process.cmdline()
    except psutil.NoSuchProcess:
        return ""
    if called.startswith("tokn "):  # what a service calls itself; a forked one has its parent's words
        return called.removeprefix("tokn ")
    text = " ".join(words[:4])
    if "nats-server" in text:
        return "nats-server"
    return next((name for name in CHILDREN if re.search(rf"\btokn(/__main__\.py)? {name}\b", text)), "")


def memory_bytes(processes: list[psutil.Process]) -> int:
    """Memory of some processes together: shared pages count once (PSS)."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since they were listed
            total += int(process.memory_full_info().pss)
    return total


def shell_words(line: str) -> list[str]:
    """A printed command line as the words a shell makes of it."""
    return shlex.split(line)
