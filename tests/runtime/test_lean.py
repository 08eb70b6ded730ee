"""What services leave unloaded of their libraries, and that it is there where it is needed after all."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("first", ["runtime.bus.bus", "runtime.bus.wire"])
def test_jetstream_is_loaded_when_it_is_used(first):
    """The bus loads none of nats-py's JetStream; the first use of a name in it does, as a whole."""
    code = (
        f"import sys, {first}; from nats.aio import client; print('nats.js.api' in sys.modules);"
        "print(client.nats.js.api.Header.STATUS.value, 'nats.js.api' in sys.modules);"
        "import nats.js; print(nats.js.JetStreamContext.__module__, client.nats.js is nats.js)"
    )
    assert run(code).splitlines() == ["False", "Status True", "nats.js.client True"]


def test_calls_of_providers_trust_the_certificates_of_their_own_context():
    """The contexts of aiohttp have read no certificate; a worker's own has, and so has any that is made later."""
    code = (
        "import ssl; from workers.upstream import http; from aiohttp import connector;"
        "unused = (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED);"
        "print([context.cert_store_stats()['x509_ca'] for context in unused]);"
        "print(connector._SSL_CONTEXT_VERIFIED.verify_mode is ssl.CERT_REQUIRED);"
        "print(http.httpx.create_ssl_context().cert_store_stats()['x509_ca'] > 0);"
        "print('set_default_verify_paths' in vars(ssl.SSLContext))"
    )
    assert run(code).splitlines() == ["[0, 0]", "True", "True", "False"]
