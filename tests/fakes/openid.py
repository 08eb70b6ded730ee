"""Owns a real OpenID provider for tests: oidc-provider in a process of its own, and a person's way through its pages."""

import json
import re
import subprocess
from typing import Any, Self

import httpx

from tests.fakes.node import NODE, install_locked
from tests.fakes.tokn import ROOT, environment

SOURCE = ROOT / "tests" / "system" / "openid"
FOLDER = ROOT / ".build" / "openid"
CLIENT = "tokn console"
SECRET = "a secret: of 100% & more"
_ACTION = re.compile(r"<h1>Who are you\?</h1>")


class OpenIdProvider:
    """One provider with one client. Another host than the console's: to a browser it is another site."""

    def __init__(self, *redirect_uris: str, method: str = "client_secret_basic") -> None:
        install_locked(SOURCE, FOLDER, "provider.mjs")
        self._settings = {
            "clientId": CLIENT,
            "clientSecret": SECRET,
            "redirectUris": redirect_uris,
            "method": method,
        }

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(NODE), "provider.mjs", json.dumps(self._settings)],
            cwd=FOLDER,
            env=environment(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it warns of plain http, and of its memory
        )
        self.issuer: str = self._line()["issuer"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def _tell(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        self._line()

    def know(self, **people: dict[str, Any]) -> None:
        """These people may sign in, by their names, with these claims."""
        self._tell({"people": people})

    def rotate(self) -> None:
        """It has another key from now on, and knows nothing of the one before."""
        self._tell({"rotate": True})

    @property
    def toml(self) -> str:
        """The table that has a console use it."""
        return (
            f'[console.oidc]\nissuer = "{self.issuer}"\nclient_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
            'roles_claim = "tokn_roles"\nscopes = ["profile", "email", "roles"]\n'
        )


def let_in(where: str, name: str) -> str:
    """Where a provider sends a browser back to once somebody has signed in on its pages."""
    with httpx.Client(timeout=30) as browser:
        answer = browser.get(where)
        while answer.status_code in {302, 303}:
            answer = browser.get(str(answer.next_request.url))
        assert _ACTION.search(answer.text), answer.text
        answer = browser.post(str(answer.url), data={"login": name})
        while "code=" not in answer.headers["location"] and "error=" not in answer.headers["location"]:
            answer = browser.get(str(answer.next_request.url))
        return answer.headers["location"]
