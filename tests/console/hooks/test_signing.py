"""Signatures: the package of Standard Webhooks accepts them, under either secret of a rotation and no other."""

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from console.hooks.signing import headers
from schemas.events import body_of
from schemas.webhooks import new_secret

BODY = body_of("key.created", "2026-11-26T00:00:00.000Z", {"id": "key_1", "name": "Schlüssel \u0000 €"})


def test_both_secrets_sign() -> None:
    """During a rotation whoever has the new or the old secret accepts a delivery; nobody else does."""
    new, old = new_secret(), new_secret()
    signed = headers((new, old), "evt_1", int(time.time()), BODY)
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, signed)["type"] == "key.created"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, signed)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body"])
def test_what_is_signed(change: str) -> None:
    """Another id, time or body is not accepted, and neither is an old delivery."""
    secret = new_secret()
    signed = headers((secret,), "evt_1", int(time.time()), BODY)
    body = BODY
    if change == "body":
        body += b" "
    else:
        signed[change] = str(int(time.time()) - 1) if change.endswith("p") else "evt_2"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, signed)
    late = headers((secret,), "evt_1", int(time.time()) - 3_600, BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, late)
