"""Owns whole answers as bytes: for what never becomes a request."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from edge.http.cors import Headers
from schemas.bus.subjects import new_id
from schemas.dialects import envelope_at
from schemas.errors import WireError

VERSION_HEADER = (b"openai-version", b"2020-10-01")


def new_request_id() -> str:
    """An id for a request: its `x-request-id`, and its name in the books."""
    return new_id("req_")


def raw_response(error: WireError, headers: Headers = (), path: str = "") -> bytes:
    """A whole response for what never becomes a request. `path` is what is known of where it was meant for."""
    envelope, request_id = envelope_at(path), new_request_id()
    body = envelope.error_body(error, request_id)
    lines = [
        STATUS_LINE[envelope.error_status(error)],
        b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
        b"x-request-id: %s\r\n%s: %s\r\n" % (request_id.encode(), *VERSION_HEADER),
        *[b"%s: %s\r\n" % (name, request_id.encode()) for name in envelope.id_headers],
        *[b"%s: %s\r\n" % header for header in headers],
        b"connection: close\r\n\r\n",
        body,
    ]
    return b"".join(lines)
