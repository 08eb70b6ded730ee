import asyncio
import datetime as dt
import ipaddress
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import structs

from runtime.bus.bus import Bus
from runtime.settings.settings import SettingsError
from schemas.bus.subjects import LEDGER_QUEUE, Role
from tests.fakes.nats import NatsServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a certificate of 127.0.0.1 that signs itself, and its key."""
    made = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nats")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    (made / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (made / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


@pytest.fixture(scope="module")
def server(folder):
    """A nats-server that speaks TLS only."""
    files = f'cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem", ca_file: "{folder}/cert.pem"'
    with NatsServer(folder, more=f"tls {{ {files}, verify: true }}\n") as running:
        yield running


async def until(condition):
    """Waits for a condition, asked every 5 ms."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_requests_and_reconnects_work_under_tls(server, folder, scheme):
    """With CA, certificate and key, large messages travel and a killed server is found again."""
    settings = structs.replace(
        server.settings(),
        url=f"{scheme}://127.0.0.1:{server.port}",
        ca=str(folder / "cert.pem"),
        cert=str(folder / "cert.pem"),
        key=str(folder / "key.pem"),
    )
    edge = await Bus.connect(settings, Role.EDGE, name="edge", on_closed=lambda: None)
    book = await Bus.connect(settings, Role.LEDGER, name="book", on_closed=lambda: None)
    await book.subscribe("ledger.*", lambda message: book.publish(message.reply, message.data), LEDGER_QUEUE)
    assert await edge.request("ledger.ping", bytes(900_000), 5) == bytes(900_000)
    await asyncio.to_thread(server.kill)
    await until(lambda: not edge.connected and not book.connected)
    await asyncio.to_thread(server.start)
    await until(lambda: edge.connected and book.connected)
    assert await edge.request("ledger.ping", bytes(900_000), 5) == bytes(900_000)
    await edge.close()
    await book.close()


async def test_files_that_are_no_certificates_are_a_configuration_error(server, folder):
    """A CA file that cannot be used is one clear error, not an endless wait."""
    (folder / "broken.pem").write_text("nothing")
    settings = structs.replace(server.settings(), ca=str(folder / "broken.pem"))
    with pytest.raises(SettingsError, match="tls"):
        await asyncio.wait_for(Bus.connect(settings, Role.EDGE, name="edge", on_closed=lambda: None), 5)
