"""Owns one request for a page: who makes it, what was typed, what a ledger is asked for it, and how it is answered."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.asking import Asker, RefusedError
from console.desk import Desk
from console.pages.frame import frame
from console.pages.said import SAID
from console.signin import form_token
from runtime.ledger import Patience
from schemas.admin.authority import allows
from schemas.admin.credentials import Credential
from schemas.admin.verbs import Question
from schemas.bus.subjects import new_id
from schemas.money.amounts import AmountError, usd_to_nano
from schemas.verbs.base import Form, Rows
from web.headers import HTML

FIELDS_MAX = 200
FORM_TYPE = "application/x-www-form-urlencoded"
_OWN_FIELDS = frozenset(("csrf", "idem"))


class FormError(Exception):
    """What was typed cannot be meant: sentences by the fields that they are about; "" is the whole form."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.errors = {field: sentence}


class Blank(dict[str, Any]):
    """Fields by name, for templates: those that nobody has typed, or found wrong, are empty."""

    def __missing__(self, name: str) -> str:
        return ""


class Person(Struct, frozen=True):
    """Whoever is signed in. `organization` is "" for all of them."""

    id: str
    name: str
    role: str
    scopes: tuple[str, ...]
    organization: str

    def may(self, scope: str, *, deployment: bool = False) -> bool:
        """Whether a page that needs this is theirs; what is the deployment's is not one organisation's."""
        return allows(self.scopes, scope) and not (deployment and self.organization)


def person_of(row: Mapping[str, Any]) -> Person:
    """Who a ledger says it is."""
    return Person(
        id=row["id"],
        name=row["name"] or row["id"],
        role=row["role"] or row["kind"],
        scopes=tuple(row["scopes"]),
        organization=row["organization"] or "",
    )


async def read_fields(request: Request) -> dict[str, str]:
    """What a form was sent with; of a name that comes twice, all values with commas between. Raises FormError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise FormError("", "A form of this console is sent in another way.")
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise FormError("", "The form cannot be read.") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    return fields


class Visit:
    """One request of somebody who is signed in. `fields` are a form's, `query` the address's."""

    def __init__(
        self,
        request: Request,
        desk: Desk,
        asker: Asker,
        person: Person,
        *,
        secret: str,
        fields: dict[str, str],
    ) -> None:
        self.request = request
        self.desk = desk
        self.person = person
        self.fields = fields
        self.query: Mapping[str, str] = request.query_params
        self._asker = asker
        self._secret = secret

    # Reading.

    @property
    def path(self) -> dict[str, str]:
        """The parts of the address that its route names."""
        return dict(self.request.path_params)

    async def rows(
        self, question: Question[Form], form: Form, *expand: str, patience: Patience | None = None
    ) -> Rows:
        """What a ledger answers, with what `expand` adds. Raises RefusedError, LedgerAwayError."""
        return await self._asker.read(question, form, expand, patience=patience)

    async def row(self, question: Question[Form], form: Form, *expand: str) -> dict[str, Any]:
        """The one row that a ledger answers with. Raises RefusedError, LedgerAwayError."""
        return (await self.rows(question, form, *expand)).rows[0]

    async def rows_if(self, question: Question[Form], form: Form) -> Rows:
        """As `rows`; none where this person may not ask."""
        if not self.person.may(question.scope, deployment=question.deployment):
            return Rows()
        return await self.rows(question, form)

    # Changing.

    @property
    def credential(self) -> Credential:
        """Of whoever asks."""
        return self._asker.credential

    def text(self, name: str) -> str:
        """A field without the spaces around it."""
        return self.fields.get(name, "").strip()

    def needed(self, name: str, what: str) -> str:
        """A field that may not be empty. Raises FormError."""
        if not (text := self.text(name)):
            raise FormError(name, f"{what} is needed.")
        return text

    def usd(self, name: str, *, least_nano: int = 1) -> int:
        """A field of dollars, in nano-dollars. Raises FormError."""
        try:
            amount = usd_to_nano(self.text(name).removeprefix("$").replace(",", "") or "0")
        except AmountError as error:
            raise FormError(name, f"Write dollars as 12.50: {error}.") from None
        if amount < least_nano:
            raise FormError(name, "It must be more than 0." if least_nano > 0 else "It must not be negative.")
        return amount

    def number(self, name: str, *, least: int = 0, most: int = 2**53, empty: int | None = None) -> int | None:
        """A field of a whole number; `empty` is what nothing stands for. Raises FormError."""
        text = self.text(name).replace(",", "")
        if not text:
            return empty
        if not text.isascii() or not text.isdecimal() or not least <= int(text[:20]) <= most:
            raise FormError(name, f"Write a whole number from {least:,} to {most:,}.")
        return int(text)

    async def act(self, name: str, form: object, patience: Patience | None = None) -> Rows:
        """Does an act, once for the form that was sent however often it comes. Raises RefusedError, LedgerAwayError."""
        sent = urlencode(sorted((key, value) for key, value in self.fields.items() if key not in _OWN_FIELDS))
        asked = f"{self.request.url.path}\n{name}\n{sent}".encode()
        key = self.fields.get("idem", "")[:255] or new_id("idem_")
        return await self._asker.act(name, form, key, hashlib.sha256(asked).digest(), patience=patience)

    # Answering.

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page."""
        return page(
            self.desk,
            template,
            status,
            path=self.request.url.path,
            person=self.person,
            csrf=form_token(self._secret),
            said=SAID.get(self.query.get("said", ""), ""),
            typed=Blank(self.fields),
            query=Blank(self.query),
            errors=Blank(values.pop("errors", {})),
            nothing=Blank(),
            **values,
        )

    def see(self, path: str, said: str = "") -> Response:
        """Sends a browser on after a form: to load that page again does nothing twice."""
        return RedirectResponse(f"{path}{f'?said={said}' if said else ''}", 303)

    def refused(self, error: Exception) -> dict[str, str]:
        """What a form says of why it was not done."""
        if isinstance(error, FormError):
            return error.errors
        if isinstance(error, RefusedError):
            return {"": sentence(error.sentence)}
        raise error


def sentence(text: str) -> str:
    """A ledger's words as a sentence."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def names_given(text: str) -> tuple[str, ...]:
    """Names with commas or spaces between, each once."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def at(*parts: str) -> str:
    """An address of this console, of parts that may be anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def page(
    desk: Desk,
    template: str,
    status: int = 200,
    *,
    path: str,
    person: Person | None = None,
    modules: tuple[str, ...] = (),
    **values: Any,
) -> Response:
    """A page of anybody's."""
    around = frame(person, path)
    around |= {
        "payments": desk.payments,
        "person": person,
        "modules": ("copy.js", *modules),
        "path": path,
        "at": at,
    }
    body = desk.pages.render(template, fresh_idem=lambda: new_id("idem_"), **around, **values)
    response = Response(body, status)
    response.headers[HTML[0].decode()] = HTML[1].decode()
    return response
