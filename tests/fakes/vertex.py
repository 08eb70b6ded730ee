"""Owns a Google Cloud: a token endpoint that verifies a service account's signed grant, and Vertex AI behind its tokens.

It is strict: what the service would not understand is its error, in its shape.
"""

import asyncio
import functools
import json
import threading
import time
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from schemas.catalogue.forwarded import OPENAI, Forwarded
from tests.fakes.hosted import Hosted

PROJECT, LOCATION = "our-project", "europe-west1"
MODEL = "google/gemini-2.5-flash"
EMAIL = "worker@our-project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AUDIENCE = "https://oauth2.googleapis.com/token"  # of every grant, wherever it is taken
HELD_S = 30.0
WORDS = ("Hel", "lo", " there")
# Thinking stands beside the completion, as Google counts: the total says it.
USAGE = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 80}
USAGE |= {"completion_tokens_details": {"reasoning_tokens": 10}}
_FIELDS = Forwarded(base=OPENAI).fields(chat=True) - {"models", "usage"}
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@functools.cache
def service_keys() -> tuple[str, str]:
    """A service account's private key and its public one, made for who asks first: a tenth of a second."""
    made = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    plain = serialization.NoEncryption()
    private = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    public = made.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class Vertex(Hosted):
    """Both servers. `refuses` is an OAuth code that the token endpoint says instead of a token."""

    path = f"/v1/projects/{PROJECT}/locations/{LOCATION}/endpoints/openapi"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.revoked: set[str] = set()
        self.lives_s = 3_600
        self.refuses = ""
        self.gate: asyncio.Event | None = None  # a mint waits for it
        self.held: threading.Event | None = None  # answers wait for it
        self.minting = self.minting_most = 0

    @property
    def token_uri(self) -> str:
        """Where grants are taken."""
        return f"http://127.0.0.1:{self.port}/token"

    def credentials(self, **more: Any) -> str:
        """The text of a service account's key file."""
        fields = {"type": "service_account", "project_id": PROJECT, "private_key_id": "kid-1"}
        fields |= {"private_key": service_keys()[0], "client_email": EMAIL, "token_uri": self.token_uri}
        return json.dumps(fields | more)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Both, and an answer to anything else."""
        return [web.post("/token", self._mint), web.route("*", "/{path:.*}", self._answer)]

    def hold_mints(self) -> None:
        """Every mint from now on waits for `release_mints`."""
        self.gate = asyncio.Event()

    def release_mints(self) -> None:
        """They go on."""
        gate, self.gate = self.gate, None
        assert gate is not None
        self._loop.call_soon_threadsafe(gate.set)

    async def _mint(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.minting += 1
        self.minting_most = max(self.minting, self.minting_most)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.minting -= 1
        if self.refuses or form.get("grant_type") != _GRANT or not self._signed(str(form.get("assertion"))):
            told = {
                "error": self.refuses or "invalid_grant",
                "error_description": f"canary {service_keys()[0][40:60]}",
            }
            return web.json_response(told, status=400)
        token = f"ya29.canary-{len(self.tokens)}-0123456789abcdef"
        self.tokens.append(token)
        return web.json_response({"access_token": token, "expires_in": self.lives_s, "token_type": "Bearer"})

    def _signed(self, assertion: str) -> bool:
        """Whether a grant is signed with the account's key, for Google's endpoint and scope, and for an hour at most."""
        try:
            claims = jwt.decode(assertion, certs={"kid-1": service_keys()[1]}, audience=AUDIENCE)
        except ValueError:
            return False
        lives_s = claims["exp"] - claims["iat"]
        fresh = abs(claims["iat"] - time.time()) < 60 and lives_s <= 3_600
        return fresh and (claims["iss"], claims["scope"]) == (EMAIL, SCOPE)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if (request.method, request.path) != (
            "POST",
            f"{self.path}/chat/completions",
        ) or request.query_string:
            return web.Response(
                status=404, text="<html>Error 404 (Not Found)!!1</html>", content_type="text/html"
            )
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if bearer not in self.tokens or bearer in self.revoked or "OpenAI-Project" in request.headers:
            text = f"Request had invalid authentication credentials: {bearer}. Expected OAuth 2 access token."
            return _error(401, "UNAUTHENTICATED", text)
        body = json.loads(await request.read())
        if unknown := set(body) - _FIELDS:
            return _error(400, "INVALID_ARGUMENT", f'Unknown name "{min(unknown)}": Cannot find field.')
        if body["model"] != MODEL:
            name = f"projects/{PROJECT}/locations/{LOCATION}/publishers/google/models/{body['model']}"
            return _error(
                404,
                "NOT_FOUND",
                f"Publisher Model `{name}` was not found or your project has no access to it.",
            )
        if body["messages"][-1]["content"] == "echo":
            return _error(400, "INVALID_ARGUMENT", f"Request with {bearer} cannot be read.")
        self.seen.append(body)
        if self.held is not None:
            await asyncio.to_thread(self.held.wait, HELD_S)
        if not body.get("stream"):
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "".join(WORDS)},
            }
            return web.json_response(_envelope("chat.completion") | {"choices": [choice], "usage": USAGE})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for index, word in enumerate(WORDS):
            last = index == len(WORDS) - 1
            choice = {
                "index": 0,
                "delta": {"role": "assistant", "content": word},
                "finish_reason": "stop" if last else None,
            }
            chunk = (
                _envelope("chat.completion.chunk")
                | {"choices": [choice]}
                | ({"usage": USAGE} if last else {})
            )
            await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        return answer


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": "vertex-1", "object": kind, "created": 1_763_769_600, "model": MODEL}


def _error(status: int, name: str, message: str) -> web.Response:
    return web.json_response([{"error": {"code": status, "message": message, "status": name}}], status=status)
