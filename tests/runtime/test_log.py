import contextlib
import fcntl
import json
import logging
import os
from pathlib import Path

import pytest

from runtime import log
from runtime.log import get_logger

HELD_BYTES = 4_096


@contextlib.contextmanager
def gone():
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        yield file


@contextlib.contextmanager
def unread():
    """A pipe that is full, and whose reader reads no more: a write to it would never return."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * HELD_BYTES)
    os.set_blocking(writer, True)
    with os.fdopen(writer, "w") as file:
        yield file
    os.close(reader)


@contextlib.contextmanager
def full():
    """A file on a disk that is full."""
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as file:
        yield file


@contextlib.contextmanager
def closed():
    """A file that is closed."""
    with Path(os.devnull).open("w") as file:
        pass
    yield file


@contextlib.contextmanager
def nothing():
    """What Python has where a process was started without the file."""
    yield None


@pytest.mark.parametrize("broken", [gone, unread, full, closed, nothing])
@pytest.mark.parametrize("name", ["stderr", "stdout"])
def test_what_cannot_be_written_is_dropped_and_counted(broken, name, monkeypatch):
    """Whatever has become of a standard file, no line raises or waits, ours or a library's; each is counted."""
    with broken() as file, monkeypatch.context() as patched:
        patched.setattr(f"sys.{name}", file)
        if name == "stdout":
            assert not log.tell("here\n")
            return
        before = log.lost()
        get_logger("here").warning("it happened", count=3)
        logging.getLogger("nats").error("it happened")
        log.say("tokn: it happened")
        assert log.lost() - before == 3


def test_a_line_after_a_torn_one_begins_anew(monkeypatch):
    """A line that was taken in part is counted, and the next one does not become its end."""
    reader, writer = os.pipe()
    held = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, HELD_BYTES)
    with os.fdopen(writer, "w") as file, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", file)
        before = log.lost()
        log.say("x" * (held + HELD_BYTES))
        assert log.lost() == before + 1
        assert os.read(reader, 2 * held) == b"x" * held
        get_logger("here").warning("it happened")
        torn, line, rest = os.read(reader, held).split(b"\n")
        assert (torn, json.loads(line)["event"], rest) == (b"", "it happened", b"")
    os.close(reader)


class Shy:
    """Something that cannot even say what it is."""

    def __repr__(self):
        raise ValueError("no")


@pytest.mark.parametrize("value", ["\ud83d", 2**80, Shy(), {"a": Shy()}, b"\xff", float("nan")])
def test_a_value_that_is_no_json_costs_no_line(value, capsys):
    """A line with a value that cannot be encoded is one line of JSON all the same, with its other fields."""
    get_logger("here").warning("it happened", value=value)
    ours = json.loads(capsys.readouterr().err)
    record = logging.LogRecord("nats", logging.ERROR, "", 0, "it happened %s", (value,), None)
    theirs = json.loads(log._JsonFormatter().format(record))
    assert (ours["event"], ours["module"]) == ("it happened", "here")
    assert theirs["event"].startswith("it happened")
