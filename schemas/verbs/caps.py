"""Owns what is asked about spend caps: to make, change, end and list them. Amounts are nano-dollars."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb

ALERT_PERCENT = 80


class NewCap(Struct, frozen=True, array_like=True):
    """A cap that is to be made. Its id is chosen by whoever asks, so that asking twice makes one.

    `period` is day, week, month or total; `zone` is an IANA time zone, empty for the organisation's.
    """

    cap_id: str
    period: str
    limit_nano: int
    zone: str = ""
    alert_percent: int = ALERT_PERCENT


class CapCreate(Struct, frozen=True, array_like=True):
    """Makes a cap of a key or of an organisation. Exactly one of the two is set."""

    v: int
    cap: NewCap
    key_id: str = ""
    organization: str = ""


class CapUpdate(Struct, frozen=True, array_like=True):
    """Changes a cap in force; None leaves a figure as it is."""

    v: int
    cap_id: str
    limit_nano: int | None = None
    alert_percent: int | None = None


class CapEnd(Struct, frozen=True, array_like=True):
    """Ends a cap. It stays in the books."""

    v: int
    cap_id: str


class CapList(Struct, frozen=True, array_like=True):
    """Asks for a page of caps in force, oldest first, after a cap id: of a key, of an organisation, or all."""

    v: int
    key_id: str = ""
    organization: str = ""
    after: str = ""
    limit: int = 100


CAP_CREATE: Verb[CapCreate, Rows] = Verb(
    name="cap_create", form=CapCreate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
CAP_UPDATE: Verb[CapUpdate, Rows] = Verb(
    name="cap_update", form=CapUpdate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
CAP_END: Verb[CapEnd, Rows] = Verb(
    name="cap_end", form=CapEnd, reply=Rows, roles=(Role.COMMAND,), writes=True
)
CAP_LIST: Verb[CapList, Rows] = Verb(name="cap_list", form=CapList, reply=Rows, roles=(Role.COMMAND,))
