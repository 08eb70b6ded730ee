"""Owns what is asked about keys and their balances. Amounts are nano-dollars."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb
from schemas.verbs.caps import NewCap


class KeyQuery(Struct, frozen=True, array_like=True):
    """Is this a live key? `digest` is the SHA-256 of the whole key."""

    v: int
    digest: bytes


class KeyReply(Struct, frozen=True, array_like=True):
    """A live key's id and the providers it may use (None: all); `active` is False for unknown and revoked keys.

    `scope` is what a hold of that key would bring, empty from a ledger of the last version. `available_nano` is what a
    hold of it could take now, None from a ledger of the last version.
    """

    active: bool
    key_id: str = ""
    providers: tuple[str, ...] | None = None
    scope: str = ""
    available_nano: int | None = None


class KeyCreate(Struct, frozen=True, array_like=True):
    """Makes a key. The ledger never learns the key itself, only its SHA-256; the command made it."""

    v: int
    digest: bytes
    name: str
    profile: str
    posted_nano: int
    providers: tuple[str, ...] | None
    playground: bool
    caps: tuple[NewCap, ...] = ()


class KeyRef(Struct, frozen=True, array_like=True):
    """Names one key by id: key_show, key_revoke, balance."""

    v: int
    key_id: str


class KeyList(Struct, frozen=True, array_like=True):
    """Asks for a page of keys, oldest first, after a key id."""

    v: int
    after: str = ""
    limit: int = 500


class Credit(Struct, frozen=True, array_like=True):
    """Adds to a key's balance, or to a profile's playground credits. Exactly one of the two is set.

    `request_id` makes it once: the same again changes nothing.
    """

    v: int
    request_id: str
    amount_nano: int
    key_id: str = ""
    profile: str = ""


KEY: Verb[KeyQuery, KeyReply] = Verb(name="key", form=KeyQuery, reply=KeyReply, roles=(Role.EDGE,))
KEY_CREATE: Verb[KeyCreate, Rows] = Verb(
    name="key_create", form=KeyCreate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
KEY_LIST: Verb[KeyList, Rows] = Verb(name="key_list", form=KeyList, reply=Rows, roles=(Role.COMMAND,))
KEY_SHOW: Verb[KeyRef, Rows] = Verb(name="key_show", form=KeyRef, reply=Rows, roles=(Role.COMMAND,))
KEY_REVOKE: Verb[KeyRef, Rows] = Verb(
    name="key_revoke", form=KeyRef, reply=Rows, roles=(Role.COMMAND,), writes=True
)
CREDIT: Verb[Credit, Rows] = Verb(name="credit", form=Credit, reply=Rows, roles=(Role.COMMAND,), writes=True)
BALANCE: Verb[KeyRef, Rows] = Verb(name="balance", form=KeyRef, reply=Rows, roles=(Role.COMMAND,))
