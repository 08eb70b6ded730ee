"""Owns logging: one JSON object a line on standard error, for our own loggers and for those of the libraries."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import msgspec

from runtime.lean import without

with without("rich"):
    import structlog

_encode = msgspec.json.Encoder(enc_hook=repr).encode
_LIBRARY_LEVELS = {"httpx": logging.WARNING, "nats": logging.ERROR, "asyncio": logging.WARNING}


def _render(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event).decode()


class _JsonFormatter(logging.Formatter):
    """The same line for what the libraries log through the standard module."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "event": record.getMessage(),
            "module": record.name,
            "level": record.levelname.lower(),
            "timestamp": self.formatTime(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return _encode(event).decode()


def _file() -> Any:
    # Looked up at each use: tests and supervisors replace standard error after import.
    return sys.stderr


class _Stderr:
    """A file that is whatever standard error is now."""

    def write(self, text: str) -> int:
        return int(_file().write(text))

    def flush(self) -> None:
        _file().flush()


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
        logger_factory=structlog.PrintLoggerFactory(cast("Any", _Stderr())),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(cast("Any", _Stderr()))
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name, library_level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(library_level)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `module`."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(module=name))


configure("tokn")  # until a service says its name: standard output belongs to the commands
