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
    """A key's id and the providers it may use (None: all); `active` is False for unknown, revoked and expired keys.

    `scope` is what a hold of that key would bring, empty from a ledger of the last version. `available_nano` is what a
    hold of it could take now, None from a ledger of the last version. `models` are those it may use, as its list has
    them (None: all). `barred` is the `Reason` for which it may read but make no call, "" if it may. `expired_ms` is when
    a key, or the secret shown, ended.
    """

    active: bool
    key_id: str = ""
    providers: tuple[str, ...] | None = None
    scope: str = ""
    available_nano: int | None = None
    models: tuple[str, ...] | None = None
    barred: str = ""
    expired_ms: int = 0


class KeyCreate(Struct, frozen=True, array_like=True):
    """Makes a key. The ledger never learns the key itself, only its SHA-256 and its last four characters, the `hint`.

    `profile` is its organisation. `models` are ids, and beginnings of ids with a `*` at their end; None is all.
    It ends at `expires_ms`, or so many seconds after it is made; both 0 is for never. With `wallet` it draws on the
    organisation's own balance. Calls a minute, tokens a minute and calls in flight are 0 for no limit. `labels` is JSON,
    an object of texts; below `low_balance_nano` its own balance is low, 0 is for none.
    """

    v: int
    digest: bytes
    name: str
    profile: str
    posted_nano: int
    providers: tuple[str, ...] | None
    playground: bool
    hint: str = ""
    models: tuple[str, ...] | None = None
    expires_ms: int = 0
    wallet: bool = False
    caps: tuple[NewCap, ...] = ()
    expires_in_s: int = 0
    rpm: int = 0
    tpm: int = 0
    in_flight: int = 0
    labels: str = ""
    low_balance_nano: int = 0


class KeyRotate(Struct, frozen=True, array_like=True):
    """Gives a key another secret; those before open it for `overlap_ms` more, at most 30 days."""

    v: int
    key_id: str
    digest: bytes
    hint: str
    overlap_ms: int


class KeyUpdate(Struct, frozen=True, array_like=True):
    """Changes a key: what is None, or an empty `status`, stays. No providers or models are all of them.

    `expires_ms` 0 is for never; with `expires_in_s` it ends so many seconds after the act. `status` is `active` or
    `paused`. Of limits and of `low_balance_nano`, below which the key's own balance is low, 0 is for none.
    """

    v: int
    key_id: str
    name: str | None = None
    providers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    expires_ms: int | None = None
    status: str = ""
    expires_in_s: int = 0
    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None
    labels: str | None = None
    low_balance_nano: int | None = None


class KeyFind(Struct, frozen=True, array_like=True):
    """Asks which key is meant: by a name that only one has, or by the SHA-256 of one of its secrets."""

    v: int
    name: str = ""
    digest: bytes = b""


class KeysUnhashed(Struct, frozen=True, array_like=True):
    """Asks how many live keys are still hashed with a pepper of before: key_unhashed."""

    v: int


class KeyRef(Struct, frozen=True, array_like=True):
    """Names one key by id: key_show, key_revoke, balance. `reason` is an act's, for the log."""

    v: int
    key_id: str
    reason: str = ""


class KeyList(Struct, frozen=True, array_like=True):
    """Asks for a page of keys, oldest first, after a key id. `name` is a part of theirs, in any case; "" is for all."""

    v: int
    after: str = ""
    limit: int = 500
    organization: str = ""
    status: str = ""
    name: str = ""


class Credit(Struct, frozen=True, array_like=True):
    """Adds to a key's balance, to a profile's playground credits or to an organisation's wallet. Exactly one is set.

    `request_id` makes it once: the same again changes nothing.
    """

    v: int
    request_id: str
    amount_nano: int
    key_id: str = ""
    profile: str = ""
    organization: str = ""


KEY: Verb[KeyQuery, KeyReply] = Verb(name="key", form=KeyQuery, reply=KeyReply, roles=(Role.EDGE,))
KEY_CREATE: Verb[KeyCreate, Rows] = Verb(
    name="key_create", form=KeyCreate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
KEY_LIST: Verb[KeyList, Rows] = Verb(name="key_list", form=KeyList, reply=Rows, roles=(Role.COMMAND,))
KEY_SHOW: Verb[KeyRef, Rows] = Verb(name="key_show", form=KeyRef, reply=Rows, roles=(Role.COMMAND,))
KEY_FIND: Verb[KeyFind, Rows] = Verb(name="key_find", form=KeyFind, reply=Rows, roles=(Role.COMMAND,))
KEY_UNHASHED: Verb[KeysUnhashed, Rows] = Verb(
    name="key_unhashed", form=KeysUnhashed, reply=Rows, roles=(Role.COMMAND,)
)
KEY_UPDATE: Verb[KeyUpdate, Rows] = Verb(
    name="key_update", form=KeyUpdate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
KEY_ROTATE: Verb[KeyRotate, Rows] = Verb(
    name="key_rotate", form=KeyRotate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
KEY_REVOKE: Verb[KeyRef, Rows] = Verb(
    name="key_revoke", form=KeyRef, reply=Rows, roles=(Role.COMMAND,), writes=True
)
CREDIT: Verb[Credit, Rows] = Verb(name="credit", form=Credit, reply=Rows, roles=(Role.COMMAND,), writes=True)
BALANCE: Verb[KeyRef, Rows] = Verb(name="balance", form=KeyRef, reply=Rows, roles=(Role.COMMAND,))
