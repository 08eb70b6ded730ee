"""Owns usage in FOCUS 1.2 as CSV: pieces of a ledger, put together to one row an hour, key, model, price and class of tokens."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import astuple

from schemas.exports.base import csv_lines, iso_s, safe
from schemas.money.amounts import EXACT

COLUMNS: Final = (
    *("BilledCost", "BillingAccountId", "BillingAccountName"),
    *("BillingAccountType", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass"),
    *("ChargeDescription", "ChargeFrequency", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit"),
    *("ContractedCost", "ContractedUnitPrice", "EffectiveCost"),
    *("InvoiceId", "InvoiceIssuerName", "ListCost"),
    *("ListUnitPrice", "PricingCategory", "PricingCurrency"),
    *("PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice"),
    *("PricingQuantity", "PricingUnit", "ProviderName"),
    *("PublisherName", "RegionId", "RegionName"),
    *("ResourceId", "ResourceName", "ResourceType"),
    *("ServiceCategory", "ServiceName", "ServiceSubcategory"),
    *("SkuId", "SkuMeter", "SkuPriceDetails"),
    *("SkuPriceId", "SubAccountId", "SubAccountName"),
    *("SubAccountType", "Tags", "x_TokenClass"),
    *("x_Pool", "x_Rate"),
)
USAGE: Final = "usage"
CORRECTION: Final = "correction"  # of a call of an earlier month
REFUND: Final = "refund"
REQUEST: Final = "request"  # in place of a class: what is paid for the call itself
_METERS: Final = {
    "input": "Input Tokens",
    "cached": "Cached Input Tokens",
    "cache_write": "Cache Write Tokens",
    "cache_write_long": "Long Cache Write Tokens",
    "input_audio": "Input Audio Tokens",
    "cached_audio": "Cached Audio Input Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Tokens",
    "output_audio": "Output Audio Tokens",
    REQUEST: "Requests",
}
_HOUR_S: Final = 3_600
_MILLION: Final = 6  # digits
_NANO: Final = 9  # digits
_OPEN_HOURS: Final = 2  # ledgers beside one another book across the turn of an hour


class Group(Struct, frozen=True, array_like=True):
    """What one row tells apart. `hour` is since 1970, units are USD for a million tokens as decimal strings.

    Beside usage `call` says which call it is, and prices and classes are empty.
    """

    what: str
    hour: int
    organization: str
    organization_name: str
    key_id: str
    key_name: str
    model: str
    provider: str
    pool: str
    period_start_s: int
    period_end_s: int
    invoice: str
    issuer: str
    call: str = ""
    price_ref: str = ""
    rate: str = ""
    token_class: str = ""
    list_unit: str = ""
    unit: str = ""


class Sums(Struct, array_like=True):
    """What is added up of a group: tokens, and exact nano-dollars."""

    quantity: int
    list_nano: Decimal
    contracted_nano: Decimal
    billed_nano: Decimal

    def add(self, other: "Sums") -> None:
        """Adds another's."""
        self.quantity += other.quantity
        self.list_nano = EXACT.add(self.list_nano, other.list_nano)
        self.contracted_nano = EXACT.add(self.contracted_nano, other.contracted_nano)
        self.billed_nano = EXACT.add(self.billed_nano, other.billed_nano)


_GROUP_FIELDS: Final = len(Group.__struct_fields__)
Groups = dict[Group, Sums]


def piece(group: Group, sums: Sums) -> list[Any]:
    """A group with its sums as a ledger sends it."""
    return [*astuple(group), sums.quantity, *(str(one) for one in astuple(sums)[1:])]


def gather(groups: Groups, group: Group, sums: Sums) -> None:
    """Adds to a group."""
    found = groups.setdefault(group, sums)
    if found is not sums:
        found.add(sums)


class FocusCsv:
    """FOCUS rows, hour by hour. A group is written once no more of its hour is to come."""

    def __init__(self) -> None:
        self._hours: dict[int, Groups] = {}
        self._what = ""
        self._newest = 0

    def head(self) -> str:
        """The line of columns."""
        return csv_lines([COLUMNS])

    def lines(self, rows: Sequence[Sequence[Any]]) -> str:
        """A page of pieces; the newest hours are kept back."""
        done = ""
        for row in rows:
            group = Group(*row[:_GROUP_FIELDS])
            if group.what != self._what:
                done += self.tail()
                self._what, self._newest = group.what, group.hour
            self._newest = max(self._newest, group.hour)
            quantity, *amounts = row[_GROUP_FIELDS:]
            gather(self._hours.setdefault(group.hour, {}), group, Sums(quantity, *map(Decimal, amounts)))
        return done + self._written(self._newest - _OPEN_HOURS)

    def tail(self) -> str:
        """What was kept back."""
        return self._written(self._newest)

    def _written(self, hour_max: int) -> str:
        over = sorted(hour for hour in self._hours if hour <= hour_max)
        return "".join(
            csv_lines(
                _row(*one) for one in sorted(self._hours.pop(hour).items(), key=lambda one: astuple(one[0]))
            )
            for hour in over
        )


def plain(number: Decimal) -> str:
    """An exact decimal without an exponent and without zeros at its end."""
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _usd(amount_nano: Decimal) -> str:
    return plain(amount_nano.scaleb(-_NANO, EXACT))


def _row(group: Group, sums: Sums) -> list[str | int]:
    used = group.what == USAGE
    cells = _common(group, _usd(sums.billed_nano)) | (_usage(group, sums) if used else _changed(group, sums))
    return [cells.get(name, "") for name in COLUMNS]


def _common(group: Group, billed: str) -> dict[str, str | int]:
    return {
        "BilledCost": billed,
        "BillingAccountId": safe(group.organization),
        "BillingAccountName": safe(group.organization_name or group.organization),
        "BillingAccountType": "Organization",
        "BillingCurrency": "USD",
        "BillingPeriodStart": iso_s(group.period_start_s),
        "BillingPeriodEnd": iso_s(group.period_end_s),
        "ChargePeriodStart": iso_s(group.hour * _HOUR_S),
        "ChargePeriodEnd": iso_s((group.hour + 1) * _HOUR_S),
        "EffectiveCost": billed,
        "InvoiceId": group.invoice,
        "InvoiceIssuerName": safe(group.issuer),
        "PricingCurrency": "USD",
        "PricingCurrencyEffectiveCost": billed,
        "ProviderName": safe(group.issuer),
        "PublisherName": safe(group.provider),
        "ResourceId": safe(group.model),
        "ResourceName": safe(group.model),
        "ResourceType": "Model",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM API",
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": group.key_id,
        "SubAccountName": safe(group.key_name or group.key_id),
        "SubAccountType": "API Key",
        "Tags": "{}",
        "x_Pool": safe(group.pool),
        "x_Rate": group.rate,
    }


def _usage(group: Group, sums: Sums) -> dict[str, str | int]:
    fee = group.token_class == REQUEST
    meter = _METERS[group.token_class]
    quantity = Decimal(sums.quantity)
    return {
        "ChargeCategory": "Usage",
        "ChargeDescription": _ascii(f"{group.model}: {meter}"),
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": sums.quantity,
        "ConsumedUnit": "Requests" if fee else "Tokens",
        "ContractedCost": _usd(sums.contracted_nano),
        "ContractedUnitPrice": group.unit,
        "ListCost": _usd(sums.list_nano),
        "ListUnitPrice": group.list_unit,
        "PricingCategory": "Standard",
        "PricingCurrencyContractedUnitPrice": group.unit,
        "PricingCurrencyListUnitPrice": group.list_unit,
        "PricingQuantity": plain(quantity if fee else quantity.scaleb(-_MILLION, EXACT)),
        "PricingUnit": "Requests" if fee else "1000000 Tokens",
        "SkuId": safe(f"{group.provider}/{group.model}/{group.token_class}"),
        "SkuMeter": meter,
        "SkuPriceId": safe(f"{group.price_ref}/{group.token_class}"),
        "x_TokenClass": group.token_class,
    }


def _changed(group: Group, sums: Sums) -> dict[str, str | int]:
    refund = group.what == REFUND
    what = "Refund of call" if refund else "Correction of call"
    return {
        "ChargeCategory": "Credit" if refund else "Usage",
        "ChargeClass": "Correction",
        "ChargeDescription": _ascii(f"{what} {group.call}"),
        "ChargeFrequency": "One-Time" if refund else "Usage-Based",
        "ContractedCost": _usd(sums.contracted_nano),
        "ListCost": _usd(sums.list_nano),
    }


def _ascii(text: str) -> str:
    return safe(text.encode("ascii", "replace").decode())
