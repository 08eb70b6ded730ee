"""Owns what is asked about organisations, which own keys, playground credits and a wallet."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb


class OrganizationCreate(Struct, frozen=True, array_like=True):
    """Makes an organisation. `timezone` is an IANA name, empty for UTC; of limits and of `low_balance_nano` 0 is for none.

    `labels` is JSON, an object of texts.
    """

    v: int
    id: str
    name: str = ""
    email: str = ""
    timezone: str = ""
    rpm: int = 0
    tpm: int = 0
    in_flight: int = 0
    labels: str = ""
    low_balance_nano: int = 0


class OrganizationUpdate(Struct, frozen=True, array_like=True):
    """Changes an organisation: what is None, or an empty `status`, stays. A suspended one's keys make no new calls.

    Below `low_balance_nano` its wallet's balance is low; 0 is for no such figure.
    """

    v: int
    id: str
    name: str | None = None
    email: str | None = None
    timezone: str | None = None
    status: str = ""
    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None
    labels: str | None = None
    low_balance_nano: int | None = None


class OrganizationList(Struct, frozen=True, array_like=True):
    """Asks for a page of organisations by id, after one."""

    v: int
    after: str = ""
    limit: int = 500


class OrganizationRef(Struct, frozen=True, array_like=True):
    """Names one organisation."""

    v: int
    id: str


ORG_CREATE: Verb[OrganizationCreate, Rows] = Verb(
    name="org_create", form=OrganizationCreate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
ORG_LIST: Verb[OrganizationList, Rows] = Verb(
    name="org_list", form=OrganizationList, reply=Rows, roles=(Role.COMMAND,)
)
ORG_SHOW: Verb[OrganizationRef, Rows] = Verb(
    name="org_show", form=OrganizationRef, reply=Rows, roles=(Role.COMMAND,)
)
ORG_UPDATE: Verb[OrganizationUpdate, Rows] = Verb(
    name="org_update", form=OrganizationUpdate, reply=Rows, roles=(Role.COMMAND,), writes=True
)
