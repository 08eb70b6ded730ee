"""Owns what one source says of one model, in the one form in which sources are compared."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Struct

from tools.catalogue.tables import Table


class Dated(Struct, frozen=True):
    """Prices from a day on."""

    effective: date
    table: Table


class Voice(Struct, frozen=True, kw_only=True):
    """One source's word: prices by default and by service tier, what comes later, and factors."""

    table: Table
    services: Mapping[str, Table] = {}
    later: tuple[Dated, ...] = ()
    uplifts: Mapping[str, Decimal] = {}
    request: Decimal = Decimal(0)
    exact: bool = True  # the id is the source's own, or spelled out by it: not a pattern's
    facts: Mapping[str, Any] = {}
