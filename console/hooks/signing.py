"""Owns the signatures of webhooks, as Standard Webhooks has them."""

import base64
import hmac
from collections.abc import Sequence

from schemas.webhooks import key_of


def headers(secrets: Sequence[str], event_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers that sign a body: one signature a secret. The id is the event's, the same at every attempt."""
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    marks = [hmac.digest(key_of(secret), signed, "sha256") for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(mark).decode()}" for mark in marks),
    }
