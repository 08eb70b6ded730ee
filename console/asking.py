"""Owns asking a ledger for somebody: with their credential, under their address, and with refusals as errors."""

from msgspec import Struct, structs

from runtime.ledger import LedgerClient, Patience
from schemas.admin.credentials import Credential
from schemas.admin.oidc import OIDC_BEGIN, OidcBegin
from schemas.admin.reasons import STATUS, Reason, reason_of, sentence_of
from schemas.admin.verbs import CONSOLE_READ, ConsoleWrite, Question, write_verb
from schemas.verbs.base import VERSION, Form, Rows, encode


class RefusedError(Exception):
    """A ledger's refusal: why, in one word and in a sentence for people."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.status = STATUS[reason]


class Asker(Struct, frozen=True, kw_only=True):
    """A ledger, as whoever has this credential sees it."""

    ledger: LedgerClient
    credential: Credential
    ip: str
    user_agent: str
    request_id: str

    def by(self, credential: Credential) -> "Asker":
        """The same for another credential."""
        return structs.replace(self, credential=credential)

    async def read(
        self,
        question: Question[Form],
        form: Form,
        expand: tuple[str, ...] = (),
        *,
        patience: Patience | None = None,
    ) -> Rows:
        """What a ledger answers, with what `expand` adds. Raises RefusedError, LedgerAwayError."""
        asked = question.ask(
            form,
            self.credential,
            expand=expand,
            ip=self.ip,
            user_agent=self.user_agent,
            request_id=self.request_id,
        )
        return _taken(await self.ledger.ask(CONSOLE_READ, asked, patience=patience))

    async def nonce(self, binding: bytes) -> str:
        """A nonce for one sign-in by a provider. Raises RefusedError, LedgerAwayError."""
        return str(_taken(await self.ledger.ask(OIDC_BEGIN, OidcBegin(VERSION, binding))).rows[0]["nonce"])

    async def act(
        self,
        name: str,
        form: object,
        key: str = "",
        request_hash: bytes = b"",
        *,
        patience: Patience | None = None,
    ) -> Rows:
        """Does an act, once under its key. Raises RefusedError, LedgerAwayError."""
        asked = ConsoleWrite(
            VERSION,
            name,
            encode(form),
            self.credential,
            key,
            request_hash,
            self.ip,
            self.user_agent,
            self.request_id,
        )
        return _taken(await self.ledger.ask(write_verb(name), asked, patience=patience))


def _taken(answer: Rows) -> Rows:
    if (reason := reason_of(answer)) is not None:
        raise RefusedError(reason, sentence_of(answer))
    return answer
