"""Owns logging: one JSON object a line on standard error, for our own loggers and for those of the libraries.

A line that cannot be written harms nothing: it is counted, and nobody waits for whoever reads the lines.
"""

import contextlib
import logging
import os
import select
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import msgspec

from runtime.lean import without

with without("rich"):
    import structlog

_encode = msgspec.json.Encoder(enc_hook=repr).encode
_LIBRARY_LEVELS = {
    "httpx": logging.WARNING,
    "nats": logging.ERROR,
    "asyncio": logging.WARNING,
    "stripe": logging.WARNING,
}


def _render(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    return _line(event)


def _line(event: MutableMapping[str, Any]) -> str:
    try:
        return _encode(event).decode()
    except Exception:  # noqa: BLE001  a half of a surrogate, an endless number: whatever it is, the line is the wrong place to fail
        return _encode({_plain(name): _plain(value) for name, value in event.items()}).decode()


def _plain(value: object) -> str:
    try:
        return value.encode(errors="replace").decode() if isinstance(value, str) else ascii(value)
    except Exception:  # noqa: BLE001  as above
        return type(value).__name__


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  as above
        return _plain(record.msg)


class _JsonFormatter(logging.Formatter):
    """The same line for what the libraries log through the standard module."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "event": _message(record),
            "module": record.name,
            "level": record.levelname.lower(),
            "timestamp": self.formatTime(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return _line(event)


class _Output:
    """Whatever a standard file is now: tests and supervisors replace it after import. Writing to it never raises.

    A reader that has gone, one that reads no more, a disk that is full: what they do not take is dropped, and counted.
    """

    def __init__(self, name: str) -> None:
        self.lost = 0  # writes, of a line each
        self._name = name
        self._torn = False  # the last one was written in part

    def write(self, text: str) -> int:
        """Writes some lines, now or never."""
        data, file = text.encode(errors="replace"), getattr(sys, self._name)
        try:
            fd = file.fileno()
        except (AttributeError, OSError, ValueError):  # it is closed, or no file
            self._replaced(file, text)
        else:
            self._written(file, fd, b"\n" + data if self._torn else data)
        return len(text)

    def _replaced(self, file: Any, text: str) -> None:
        try:
            file.write(text)
        except (AttributeError, OSError, ValueError):
            self.lost += 1

    def _written(self, file: Any, fd: int, data: bytes) -> None:
        # Past the file's own buffer: that would keep a line that failed, and fail again at the process's end.
        at = 0
        try:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                file.flush()  # what others have written comes first
            while at < len(data):
                if not _takes(fd):
                    break
                at += os.write(fd, data[at : at + select.PIPE_BUF])
        except OSError:
            pass
        if at < len(data):
            self.lost += 1
            self._torn = self._torn or at > 0
        else:
            self._torn = False

    def flush(self) -> None:
        """Nothing waits here."""


def _takes(fd: int) -> bool:
    """Whether a write of PIPE_BUF bytes returns at once: a full pipe's would wait for its reader."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


_stderr, _stdout = _Output("stderr"), _Output("stdout")


def lost() -> int:
    """Lines that could not be written, since the start."""
    return _stderr.lost


def say(line: str) -> None:
    """Writes a line for people on standard error: what ends a command. It never raises."""
    _stderr.write(f"{line}\n")


def tell(text: str) -> bool:
    """Writes what a process prints beside its log on standard output. Whether it could; it never raises."""
    before = _stdout.lost
    _stdout.write(text)
    return _stdout.lost == before


def configure(service: str, *, level: int = logging.INFO) -> None:
    """Sets logging up for a process. `service` is in every line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("Any", _stderr)),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(cast("Any", _stderr))
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name, library_level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(library_level)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `module`."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(module=name))


configure("tokn")  # until a service says its name: standard output belongs to the commands
