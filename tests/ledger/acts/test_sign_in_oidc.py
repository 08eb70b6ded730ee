"""Who may sign in by an OpenID provider: whoever it has just authenticated for us and given a role, once, and nobody else."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey

from ledger.commits.commands import Command
from ledger.openid import keys
from ledger.openid.signing import Signing
from ledger.verbs.acts import console_command, log_page
from runtime import openid
from runtime.settings.oidc import OidcSettings
from schemas.admin.credentials import IdToken, Session, digest
from schemas.admin.operators import SIGN_IN_S, OperatorCreate, OperatorRef, SignIn
from schemas.admin.reads import Me
from schemas.admin.reasons import Reason, reason_of
from schemas.admin.sessions import SessionRef
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs.acts import LogQuery
from schemas.verbs.base import Rows, encode
from schemas.verbs.organizations import OrganizationCreate
from tests.fakes.issuer import CLIENT, KEYS, SECRET, Issuer, signed, signed_with, unsigned
from tests.ledger.conftest import Source
from tests.ledger.harness import Books, Clock
from tests.ledger.people import by, link, read

BINDING = b"b" * 32
only_sqlite = pytest.mark.parametrize("dialect", ["sqlite"])


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Where keys are read."""
    with Issuer() as running:
        yield running


class Provider:
    """A ledger's side of an issuer, with a console that passes tokens on."""

    def __init__(self, books: Books, issuer: Issuer, **settings: Any) -> None:
        self.books = books
        self.issuer = issuer
        self.signing = Signing()
        self.signing.take(OidcSettings(issuer=issuer.url, client_id=CLIENT, roles_claim="roles", **settings))
        self._sessions = 0

    def nonce(self, binding: bytes = BINDING) -> str:
        """A fresh nonce."""
        books = self.books
        return str(self.signing.nonce(books.committer.secret, binding, books.clock.ms).rows[0]["nonce"])

    def claims(self, **other: Any) -> dict[str, Any]:
        """Of a right token, for a fresh nonce."""
        return self.issuer.claims(
            other.pop("nonce", None) or self.nonce(), self.books.clock.ms // 1000, **other
        )

    async def sign_in(
        self, token: str, binding: bytes = BINDING, session: str = "", **fields: Any
    ) -> tuple[Rows, Session]:
        """What a ledger answers to a token, and the session if it begins one."""
        self._sessions += 1
        secret = session or f"session {self._sessions}"
        proof, books = IdToken(token, binding), self.books
        identity = await self.signing.proven(proof, books.committer.secret, books.clock.ms)
        asked = ConsoleWrite(1, "sign_in_oidc", encode(SignIn(1, digest(secret))), proof, **fields)
        made = console_command(asked, identity)
        assert isinstance(made, Command)
        answer: Rows = (await books.committer.commit([made]))[0]
        return answer, Session(digest(secret))


@pytest.fixture
async def found(books: Books, issuer: Issuer) -> Provider:
    """Books with a provider."""
    return Provider(books, issuer)


async def _log(books: Books, **fields: Any) -> list[dict[str, Any]]:
    return list((await log_page(books.store, LogQuery(**fields))).rows)


async def test_a_token_begins_a_session(found: Provider) -> None:
    """The operator is made by issuer and subject, with the role of the claim; the log has who, from where, and no token."""
    token = signed(found.claims(email="ada@x.example", email_verified=True))
    answer, session = await found.sign_in(token, ip="192.0.2.7", user_agent="a browser")
    assert not answer.problem
    me = (await read(found.books, session, "me", Me())).rows[0]
    assert (me["name"], me["role"], me["kind"], me["organization"]) == ("Ada", "owner", "operator", None)
    (entry,) = await _log(found.books, action="sign_in_oidc")
    assert (entry["actor"], entry["ip"], entry["user_agent"]) == (
        f"operator:{me['id']}",
        "192.0.2.7",
        "a browser",
    )
    made = entry["after"][f"operators/{me['id']}"]
    assert answer.rows[0]["operator"]["issuer"] == found.issuer.url
    assert (made["issuer"], made["subject"], made["email"]) == (found.issuer.url, "ada", "ada@x.example")
    assert token not in json.dumps(entry)
    assert not (
        await by(found.books, session, "operator_create", OperatorCreate(1, "bob", "", "viewer"))
    ).problem
    assert not (await by(found.books, session, "session_end", SessionRef(1))).problem
    assert reason_of(await read(found.books, session, "me", Me())) is Reason.INVALID_SESSION
    await found.books.check()


async def test_one_person_is_one_operator(found: Provider) -> None:
    """The second sign-in finds the same one, with what the provider says by then; sessions of before have the new role."""
    _, first = await found.sign_in(signed(found.claims()))
    _, second = await found.sign_in(signed(found.claims(roles="viewer", name="Ada L.")))
    people = [(await read(found.books, one, "me", Me())).rows[0] for one in (first, second)]
    assert people[0]["id"] == people[1]["id"]
    assert {(one["name"], one["role"]) for one in people} == {("Ada L.", "viewer")}
    other, _ = await found.sign_in(signed(found.claims(sub="bob")))
    assert other.rows[0]["operator"]["id"] != people[0]["id"]
    await found.books.check()


async def test_an_address_makes_nobody_somebody_else(found: Provider) -> None:
    """Neither a name nor an e-mail address leads to an operator of a link; one that is not verified is not even noted."""
    bob = OperatorCreate(1, "Ada", "ada@x.example", "owner")
    local = (await found.books.act("operator_create", bob)).rows[0]["id"]
    answer, _ = await found.sign_in(signed(found.claims(email="ada@x.example")))
    assert answer.rows[0]["operator"]["id"] != local
    assert answer.rows[0]["operator"]["email"] == ""


async def test_a_token_is_good_once(found: Provider) -> None:
    """Again, for another session, or in another token for the same nonce: refused and entered; asked twice it is done once."""
    nonce = found.nonce()
    token = signed(found.claims(nonce=nonce))
    first, _ = await found.sign_in(token, session="s", idempotency_key="k")
    same, _ = await found.sign_in(token, session="s", idempotency_key="k")
    assert same.rows == first.rows
    for again in (token, signed(found.claims(nonce=nonce, sub="bob"))):
        answer, session = await found.sign_in(again)
        assert reason_of(answer) is Reason.INVALID_ID_TOKEN
        assert "was used" in answer.problem
        assert reason_of(await read(found.books, session, "me", Me())) is Reason.INVALID_SESSION
    assert len(await _log(found.books, action="sign_in_oidc_failed")) == 2
    assert len(await _log(found.books, action="sign_in_oidc")) == 1


async def test_two_ledgers_take_one_token_once(found: Provider, source: Source, clock: Clock) -> None:
    """However two ledgers race for it, one session begins."""
    books = found.books
    second = Provider(Books(await source.again(), clock), found.issuer)
    second.books.committer.peppers = books.committer.peppers
    for _ in range(3):
        token = signed(found.claims())
        answers = await asyncio.gather(found.sign_in(token), second.sign_in(token, session=f"other {_}"))
        assert sorted(bool(answer.problem) for answer, _ in answers) == [False, True]
    await second.books.store.close()


async def test_what_a_removed_operator_shows_is_nothing(found: Provider) -> None:
    """Whoever was removed here stays out, whatever role his provider gives him."""
    answer, _ = await found.sign_in(signed(found.claims()))
    await link(found.books)  # the last owner cannot be removed
    await found.sign_in(signed(found.claims(sub="eve")))
    id_ = answer.rows[0]["operator"]["id"]
    assert not (await found.books.act("operator_remove", OperatorRef(1, id_))).problem
    answer, _ = await found.sign_in(signed(found.claims()))
    assert reason_of(answer) is Reason.SIGN_IN_REFUSED
    assert "removed" in answer.problem
    assert (await _log(found.books, action="sign_in_oidc_failed"))[0]["reason"] == answer.problem


async def test_used_nonces_do_not_pile_up(found: Provider) -> None:
    """Once its age refuses it, a nonce that was used is gone with a later sign-in."""
    for _ in range(3):
        await found.sign_in(signed(found.claims()))
    found.books.clock.turn(SIGN_IN_S + 61)
    await found.sign_in(signed(found.claims()))
    assert len(await found.books.store.fetch("SELECT id FROM sign_in_nonces")) == 1


def _p384(claims: dict[str, Any], _now_s: int) -> str:
    return signed(claims, "other", kid="first")


ATTACKS = {
    "another's nonce": lambda claims, _: signed(claims | {"nonce": "n" * 75}),
    "no nonce": lambda claims, _: signed({k: v for k, v in claims.items() if k != "nonce"}),
    "a nonce that is no text": lambda claims, _: signed(claims | {"nonce": ["n"]}),
    "another audience": lambda claims, _: signed(claims | {"aud": "another"}),
    "no audience": lambda claims, _: signed({k: v for k, v in claims.items() if k != "aud"}),
    "several audiences, for none": lambda claims, _: signed(claims | {"aud": [CLIENT, "another"]}),
    "several, issued to another": lambda claims, _: signed(claims | {"aud": [CLIENT, "b"], "azp": "b"}),
    "issued to another": lambda claims, _: signed(claims | {"azp": "another"}),
    "expired": lambda claims, now: signed(claims | {"exp": now - 31}),
    "no end": lambda claims, _: signed({k: v for k, v in claims.items() if k != "exp"}),
    "an end that is no number": lambda claims, _: signed(claims | {"exp": "never"}),
    "of the future": lambda claims, now: signed(claims | {"iat": now + 31}),
    "not yet": lambda claims, now: signed(claims | {"nbf": now + 31}),
    "of before its nonce": lambda claims, now: signed(claims | {"iat": now - 31}),
    "foreign issuer": lambda claims, _: signed(claims | {"iss": "https://id.example"}),
    "no issuer": lambda claims, _: signed({k: v for k, v in claims.items() if k != "iss"}),
    "no subject": lambda claims, _: signed({k: v for k, v in claims.items() if k != "sub"}),
    "an empty subject": lambda claims, _: signed(claims | {"sub": ""}),
    "a subject that is no text": lambda claims, _: signed(claims | {"sub": {"a": 1}}),
    "unsigned": lambda claims, _: unsigned(claims),
    "unsigned, with a key's name": lambda claims, _: unsigned(claims, kid="first"),
    "the client's secret": lambda claims, _: signed_with(SECRET, claims),
    "the public key as a secret": lambda claims, _: signed_with(
        KEYS["first"].as_pem(private=False), claims, kid="first"
    ),
    "another's key": lambda claims, _: signed(claims, "other"),
    "another's key under a known name": _p384,
    "a key that it brings": lambda claims, _: signed(
        claims, "other", jwk=KEYS["other"].as_dict(private=False), kid="first"
    ),
    "cut": lambda claims, _: signed(claims)[:-4],
    "no token": lambda *_: "x",
    "nothing": lambda *_: "",
    "no ASCII": lambda *_: "é.é.é",
    "too long": lambda claims, _: signed(claims | {"x": "y" * 40_000}),
}


@only_sqlite
@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_proves_nothing_begins_nothing(found: Provider, attack: str) -> None:
    """One answer for all of it, an entry in the log, and neither an operator nor a session."""
    now_s = found.books.clock.ms // 1000
    answer, session = await found.sign_in(ATTACKS[attack](found.claims(), now_s))
    assert reason_of(answer) is Reason.INVALID_ID_TOKEN
    assert answer.problem == "the provider's answer does not prove who you are: begin again"
    assert reason_of(await read(found.books, session, "me", Me())) is Reason.INVALID_SESSION
    assert not await found.books.store.fetch("SELECT id FROM operators")
    assert len(await _log(found.books, action="sign_in_oidc_failed")) == 1


@only_sqlite
async def test_a_nonce_is_of_its_browser_and_its_time(found: Provider) -> None:
    """One that was asked for with another binding, or too long ago, or from other books, signs nobody in."""
    token = signed(found.claims())
    for binding in (b"c" * 32, b"", b"b" * 31):
        answer, _ = await found.sign_in(token, binding)
        assert reason_of(answer) is Reason.INVALID_ID_TOKEN
    nonce = found.nonce()
    found.books.clock.turn(SIGN_IN_S)
    answer, _ = await found.sign_in(signed(found.claims(nonce=nonce)))
    assert reason_of(answer) is Reason.INVALID_ID_TOKEN
    other = found.signing.nonce(b"other books", BINDING, found.books.clock.ms).rows[0]["nonce"]
    answer, _ = await found.sign_in(signed(found.claims(nonce=other)))
    assert reason_of(answer) is Reason.INVALID_ID_TOKEN


@only_sqlite
async def test_a_captured_console_makes_no_session(found: Provider) -> None:
    """A token that no ledger has verified is worth nothing, for any act or read; and one that was opens one act alone."""
    books = found.books
    await link(books)
    proof = IdToken(signed(found.claims()), BINDING)
    for name, form in (
        ("sign_in_oidc", SignIn(1, digest("s"))),
        ("sign_in", SignIn(1, digest("s"))),
        ("operator_create", OperatorCreate(1, "x", "", "owner")),
    ):
        assert reason_of(await by(books, proof, name, form)) is Reason.INVALID_ID_TOKEN
    assert reason_of(await read(books, proof, "me", Me())) is Reason.INVALID_ID_TOKEN
    identity = await found.signing.proven(proof, books.committer.secret, books.clock.ms)
    for name, form in (
        ("sign_in", SignIn(1, digest("s"))),
        ("operator_create", OperatorCreate(1, "x", "", "owner")),
        ("session_end", SessionRef(1)),
        ("session_end", SessionRef(1, "ses_1")),
    ):
        made = console_command(ConsoleWrite(1, name, encode(form), proof), identity)
        assert isinstance(made, Command)
        assert (await books.committer.commit([made]))[0].problem, name
    session = Session(digest("s"))
    assert reason_of(await read(books, session, "me", Me())) is Reason.INVALID_SESSION


@only_sqlite
@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"roles": "admin"}, "admin"),
        ({"roles": ["staff", "support", "viewer"]}, "support"),
        ({"roles": ["viewer", "owner"]}, "owner"),
        ({"roles": None}, ""),
        ({"roles": []}, ""),
        ({"roles": ["Owner"]}, ""),
        ({"roles": {"owner": True}}, ""),
        ({"roles": 7}, ""),
        ({"roles": "owner admin"}, ""),
    ],
    ids=str,
)
async def test_a_role_is_what_the_claim_has(found: Provider, claims: dict[str, Any], role: str) -> None:
    """The first of tokn's roles that it names, exactly; without one nobody signs in, and is told which claim lacks it."""
    answer, _ = await found.sign_in(signed(found.claims(**claims)))
    if role:
        assert answer.rows[0]["operator"]["role"] == role
    else:
        assert reason_of(answer) is Reason.SIGN_IN_REFUSED
        assert "its claim roles has none" in answer.problem


@only_sqlite
@pytest.mark.parametrize(
    ("said", "organization"),
    [
        ("acme", "acme"),
        (["acme"], "acme"),
        ("*", None),
        (None, "-"),
        ("", "-"),
        (["acme", "b"], "-"),
        ("none", "-"),
    ],
    ids=str,
)
async def test_an_organisation_is_what_the_claim_has(
    books: Books, issuer: Issuer, said: Any, organization: str | None
) -> None:
    """Where a claim has to name one, it names one that is here, or all of them; silence is never the whole deployment."""
    await books.act("org_create", OrganizationCreate(1, "acme"))
    found = Provider(books, issuer, organization_claim="tokn.org")
    claims = found.claims(tokn={"org": said} if said is not None else None)
    answer, _ = await found.sign_in(signed(claims))
    if organization == "-":
        assert reason_of(answer) is Reason.SIGN_IN_REFUSED
    else:
        assert answer.rows[0]["operator"]["organization"] == organization


@only_sqlite
async def test_keys_are_read_again_for_a_new_one(found: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not known has them read once more; strangers' names of keys do not have them read without end."""
    monkeypatch.setattr(keys, "UNKNOWN_S", 600.0)
    await found.sign_in(signed(found.claims()))
    found.issuer.keys = [KEYS["second"].as_dict(private=False)]
    assert not (await found.sign_in(signed(found.claims(), "second")))[0].problem
    reads = found.issuer.asked.count("/keys")
    for _ in range(5):
        assert (await found.sign_in(signed(found.claims(), "other")))[0].problem
    assert found.issuer.asked.count("/keys") == reads == 2
    monkeypatch.setattr(keys, "UNKNOWN_S", 0.0)
    await found.sign_in(signed(found.claims(), "other"))
    assert found.issuer.asked.count("/keys") == 3


@only_sqlite
async def test_keys_that_sign_no_token_verify_none(found: Provider) -> None:
    """Of a list those alone count that can be a provider's: neither short ones, nor shared ones, nor such for encryption."""
    first = KEYS["first"].as_dict(private=False)
    found.issuer.keys = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "RSA", "kid": "broken"},
        first | {"kid": "short", "n": first["n"][:171]},
        first | {"kid": "long", "n": first["n"] * 8},
        KEYS["second"].as_dict(private=False) | {"use": "enc"},
        *[{"kty": "EC"}] * 3,
        ECKey.generate_key("P-256", {"kid": "curve"}).as_dict(private=False),
        first,
    ]
    assert (await found.sign_in(signed(found.claims(), "second")))[0].problem
    assert not (await found.sign_in(signed(found.claims())))[0].problem


@only_sqlite
@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/keys", b"{}", "list of keys cannot be read"),
        ("/keys", b"\xff", "list of keys cannot be read"),
        ("/keys", b'{"keys": []}', "no key"),
        ("/keys", b" " * (keys.KEYS_BYTES_MAX + 1), "more than"),
        ("/.well-known/openid-configuration", b"[]", "discovery document cannot be read"),
        ("/.well-known/openid-configuration", b" " * (openid.DOCUMENT_BYTES_MAX + 1), "more than"),
    ],
)
async def test_a_provider_that_cannot_be_read(
    found: Provider, monkeypatch: pytest.MonkeyPatch, path: str, answer: bytes, words: str
) -> None:
    """Says so in a sentence, and is not asked again for each try."""
    monkeypatch.setattr(openid, "AGAIN_S", 600.0)
    found.issuer.answers[path] = answer
    for _ in range(3):
        said, _session = await found.sign_in(signed(found.claims()))
        assert reason_of(said) is Reason.INVALID_ID_TOKEN
        assert words in said.problem
    assert found.issuer.asked.count(path) == 1


@only_sqlite
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"issuer": "http://127.0.0.1:1"}, "another name"),
        ({"jwks_uri": "http://192.0.2.1/keys"}, "not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "not https"),
        ({"token_endpoint": "http://id.example/token"}, "not https"),
    ],
    ids=str,
)
async def test_a_document_leads_nowhere_else(found: Provider, document: dict[str, str], words: str) -> None:
    """Another issuer's name, or an address in the clear, has nothing read from there."""
    found.issuer.document = document
    said, _ = await found.sign_in(signed(found.claims()))
    assert words in said.problem
    assert "/keys" not in found.issuer.asked


@only_sqlite
async def test_without_a_provider_nothing_can_be_begun(books: Books) -> None:
    """No nonce is given, and no token verified."""
    signing = Signing()
    assert reason_of(signing.nonce(b"s", BINDING, 0)) is Reason.SIGN_IN_REFUSED
    found = await signing.proven(IdToken("x", BINDING), b"s", 0)
    made = console_command(
        ConsoleWrite(1, "sign_in_oidc", encode(SignIn(1, digest("s"))), IdToken("x", BINDING)), found
    )
    assert isinstance(made, Command)
    assert reason_of((await books.committer.commit([made]))[0]) is Reason.SIGN_IN_REFUSED
