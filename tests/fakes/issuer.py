"""Owns an issuer of ID tokens for tests, which signs whatever it is told to: what no real provider would."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "console"
SECRET = b"a client's secret that is long enough to be an HMAC's key"
KEYS = {name: RSAKey.generate_key(2048, {"kid": name, "use": "sig"}) for name in ("first", "second", "other")}


class Issuer:
    """One issuer with a discovery document and keys; each of its answers can be replaced."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[dict[str, Any]] = [KEYS["first"].as_dict(private=False)]
        self.document: dict[str, Any] = {}
        self.answers: dict[str, bytes] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                body = issuer.answer(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("content-length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> bytes | None:
        """What it says at a path."""
        if path in self.answers:
            return self.answers[path]
        if path == "/keys":
            return json.dumps({"keys": self.keys}).encode()
        if path != "/.well-known/openid-configuration":
            return None
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return json.dumps(document | self.document).encode()

    def claims(self, nonce: str, now_s: int, **other: Any) -> dict[str, Any]:
        """What a right token says; a claim of None is left out."""
        said = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "ada",
            "iat": now_s,
            "exp": now_s + 300,
            "nonce": nonce,
            "name": "Ada",
            "roles": ["owner"],
        }
        return {name: value for name, value in (said | other).items() if value is not None}


def signed(claims: dict[str, Any], key: str = "first", **header: Any) -> str:
    """A token of some claims, signed as a provider signs."""
    return jwt.encode({"alg": "RS256", "kid": key, **header}, claims, KEYS[key])


def signed_with(secret: bytes, claims: dict[str, Any], **header: Any) -> str:
    """A token that is signed with what both sides have, or what everybody has."""
    text = _parts({"alg": "HS256", **header}, claims)
    return f"{text}.{_base64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    """A token that nobody has signed."""
    return f"{_parts({'alg': 'none', **header}, claims)}."


def _parts(*parts: dict[str, Any]) -> str:
    return ".".join(_base64(json.dumps(part).encode()) for part in parts)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
