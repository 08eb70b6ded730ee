"""Owns the check of SigV4 signatures for the fake Bedrock: written from AWS's description, over the bytes that came in."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

SKEW_MAX_S = 300
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([a-z0-9-]+)/([a-z-]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


class SignatureRefusedError(Exception):
    """Why a request is not let in: the name of AWS's error, and its words."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(
    secret: str,
    *,
    method: str,
    raw_path: str,
    headers: Mapping[str, str],
    signed: list[str],
    body: bytes,
    scope: str,
) -> str:
    """The signature that a request must carry. The path as sent is encoded once more, slashes left alone.

    A query is taken as it was sent, its pairs in order.
    """
    path, _, query = raw_path.partition("?")
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    day, region, service, end = scope.split("/")
    key = _hmac(_hmac(_hmac(_hmac(f"AWS4{secret}".encode(), day), region), service), end)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return _hmac(key, f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}").hex()


def verify(
    *,
    method: str,
    raw_path: str,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Mapping[str, tuple[str, str]],
    region: str,
    now: datetime | None = None,
) -> None:
    """Raises SignatureRefusedError unless the request is signed. `secrets`: by access key, secret and session token.

    `headers` have lower-case names.
    """
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise SignatureRefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
    access, day, in_region, service, names, given = found.groups()
    if access not in secrets:
        raise SignatureRefusedError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    secret, token = secrets[access]
    if (headers.get("x-amz-security-token") or "") != token:
        raise SignatureRefusedError(
            "ExpiredTokenException", "The security token included in the request is expired"
        )
    if service != "bedrock" or in_region != region:
        raise SignatureRefusedError(
            "InvalidSignatureException",
            f"Credential should be scoped to correct service: 'bedrock' in {region}.",
        )
    date = datetime.strptime(headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(((now or datetime.now(UTC)) - date).total_seconds()) > SKEW_MAX_S or not headers[
        "x-amz-date"
    ].startswith(day):
        raise SignatureRefusedError("InvalidSignatureException", "Signature expired")
    signed = names.split(";")
    needed = {"host", "x-amz-date"} | {name for name in headers if name.startswith("x-amz-")}
    if signed != sorted(signed) or not needed <= set(signed) or headers.get("host", "").count(",") > 0:
        raise SignatureRefusedError("InvalidSignatureException", "Headers that must be signed are not.")
    expected = signature(
        secret,
        method=method,
        raw_path=raw_path,
        headers=headers,
        signed=signed,
        body=body,
        scope=f"{day}/{in_region}/{service}/aws4_request",
    )
    if not hmac.compare_digest(expected, given):
        raise SignatureRefusedError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS "
            "Secret Access Key and signing method. Consult the service documentation for details.",
        )
