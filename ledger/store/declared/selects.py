"""Owns the reads that are not hot as SQLAlchemy statements over the declared tables, and compiles them."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Select,
    String,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause, Join

from ledger.rules import rows
from ledger.store.declared import schema
from ledger.store.declared.schema import table

_KINDS: tuple[type[DefaultDialect], ...] = (SQLiteDialect, PGDialect)
_DIALECTS = tuple(kind(paramstyle="numeric_dollar") for kind in _KINDS)
_BILL = 0  # the slot of a call's bill


def _constant(value: int) -> ColumnElement[int]:
    # Written into the SQL, not a parameter: the planner matches it with an index.
    return literal_column(str(value), BigInteger())


def _columns(kind: type[rows.Row], source: FromClause) -> list[ColumnElement[Any]]:
    """The columns that make a row, in the order of its fields."""
    return [source.c[name] for name in kind.__struct_fields__]


def _page(statement: Select[Any]) -> Select[Any]:
    # SQLite's compiler would make a parameter of the offset that it adds to a limit.
    return statement.limit(bindparam("limit", type_=BigInteger())).offset(_constant(0))


_keys = table(schema.Key).alias("k")
_accounts = table(schema.Account).alias("a")
_secrets = table(schema.KeySecret).alias("s")
_profiles = table(schema.Profile).alias("o")
_usage = table(schema.Usage).alias("u")
_holds = table(schema.Hold).alias("h")
_candidates = table(schema.Candidate).alias("c")
_prices = table(schema.PriceRow).alias("p")


def _pinned(name: str) -> ColumnElement[Any]:
    """A column of what served a call: of several candidates the one that is current."""
    return func.coalesce(_candidates.c[name], _holds.c[name])


_is_current = (_candidates.c.request_id == _holds.c.request_id) & (_candidates.c.place == _holds.c.candidate)

# A key and its account: the columns of Key, then those of Account.
_key = select(*_columns(rows.Key, _keys), *_columns(rows.Account, _accounts)).join_from(
    _keys, _accounts, _accounts.c.id == _keys.c.account_id
)
# The same by one of its secrets, with that one's end and the state of the key's organisation.
KEY_BY_SECRET = (
    _key.add_columns(_secrets.c.expires_ms, _profiles.c.status)
    .join(_secrets, _secrets.c.key_id == _keys.c.id)
    .join(_profiles, _profiles.c.id == _keys.c.profile)
    .where(_secrets.c.digest == bindparam("digest"))
)
# A key of which a ledger of the version before wrote no secret.
KEY_BY_DIGEST = _key.where(
    _keys.c.digest == bindparam("digest"), ~exists().where(_secrets.c.key_id == _keys.c.id)
)
KEY_BY_ID = _key.where(_keys.c.id == bindparam("key_id"))

KEYS_NAMED = _page(_key.where(_keys.c.name == bindparam("name")).order_by(_keys.c.id))
SECRETS_OF_KEY = (
    select(*_columns(rows.KeySecret, _secrets))
    .where(_secrets.c.key_id == bindparam("key_id"))
    .order_by(_secrets.c.created_ms, _secrets.c.id)
)


def _either(wanted: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a column is what is wanted, or nothing is."""
    return bindparam(wanted, type_=String()).in_([literal_column("''", String()), column])


def _status() -> ColumnElement[str]:
    over = (_keys.c.expires_ms > _constant(0)) & (_keys.c.expires_ms <= bindparam("now_ms"))
    words = {word: literal_column(f"'{word}'", String()) for word in ("revoked", "expired")}
    return case(
        (_keys.c.status == words["revoked"], words["revoked"]), (over, words["expired"]), else_=_keys.c.status
    )


KEYS_FIRST = _page(
    _key.where(
        _either("organization", _keys.c.profile),
        _either("status", _status()),
        func.lower(_keys.c.name).like(bindparam("pattern"), escape="\\"),
    ).order_by(_keys.c.created_ms, _keys.c.id)
)


def _place_of_key() -> ColumnElement[Any]:
    one = table(schema.Key).alias("one")
    place = select(one.c.created_ms, one.c.id).where(one.c.id == bindparam("after"))
    return tuple_(_keys.c.created_ms, _keys.c.id) > place.scalar_subquery()


KEYS_AFTER = KEYS_FIRST.where(_place_of_key())

# An organisation: the columns of Profile, then what its wallet has, holds, has spent and is low below, if it has one.
_organization = select(
    *_columns(rows.Profile, _profiles),
    _accounts.c.posted_nano,
    _accounts.c.held_nano,
    _accounts.c.spent_nano,
    _accounts.c.low_nano,
).select_from(
    _profiles.outerjoin(_accounts, _accounts.c.id == literal_column("'org:'", String()) + _profiles.c.id)
)
ORGANIZATION = _organization.where(_profiles.c.id == bindparam("id"))
ORGANIZATIONS = _page(_organization.where(_profiles.c.id > bindparam("after")).order_by(_profiles.c.id))

# A call: the columns of UsageRow, then the rate and price reference that it was billed at, the price row's body, and its number.
_call = select(
    *_columns(rows.UsageRow, _usage), _pinned("rate"), _pinned("price_ref"), _prices.c.body, _usage.c.seq
).select_from(
    _usage.outerjoin(_holds, _holds.c.request_id == _usage.c.request_id)
    .outerjoin(_candidates, _is_current)
    .outerjoin(_prices, _prices.c.ref == _pinned("price_ref"))
)
CALLS = _page(
    _call.where(_usage.c.slot == _constant(_BILL), _usage.c.seq < bindparam("before")).order_by(
        _usage.c.seq.desc()
    )
)
# Of one call the bill and every attempt that was our cost.
ATTEMPTS = _call.where(_usage.c.request_id == bindparam("request_id")).order_by(_usage.c.slot)
HOLD = select(*_columns(rows.Hold, _holds)).where(_holds.c.request_id == bindparam("request_id"))
NEWEST_CALL = select(func.coalesce(func.max(_usage.c.seq), _constant(0)))


class _CrossJoin(Join):
    """A join of which SQLite reads the left side first, whatever its statistics say."""

    inherit_cache = False


@compiles(_CrossJoin)
def _cross_join(join: _CrossJoin, compiler: SQLCompiler, **options: Any) -> str:
    options["asfrom"] = True
    sides = (compiler.process(side, **options) for side in (join.left, join.right))
    return " CROSS JOIN ".join(sides)


def _calls_of_key() -> Select[Any]:
    """Each block's newest calls first, from the index alone; then the rows of those that are left."""
    # SQLite takes the index only for a number that has no column's type: hence the sum.
    newest = cast(bindparam("newest_block"), BigInteger()) + _constant(0)
    blocks = select(newest.label("block")).cte("blocks", recursive=True)
    blocks = blocks.union_all(
        select(blocks.c.block - _constant(1)).where(blocks.c.block > bindparam("oldest_block"))
    )
    k = table(schema.Usage).alias("k")
    found = (
        select(k.c.seq)
        .select_from(_CrossJoin(blocks, k, true()))
        .where(
            k.c.seq // _constant(rows.USAGE_BLOCK) == blocks.c.block,
            k.c.slot == _constant(_BILL),
            k.c.key_id == bindparam("key_id"),
            k.c.seq < bindparam("before"),
        )
        .order_by(k.c.seq.desc())
    )
    return _call.where(_usage.c.seq.in_(_page(found))).order_by(_usage.c.seq.desc())


CALLS_OF_KEY = _calls_of_key()

# A receipt: the columns of UsageRow, then those of Hold, and of what served its upstream, rate, price reference and the
# price row's body.
RECEIPT = (
    select(
        *_columns(rows.UsageRow, _usage),
        *_columns(rows.Hold, _holds),
        _pinned("upstream"),
        _pinned("rate"),
        _pinned("price_ref"),
        _prices.c.body,
    )
    .select_from(
        _holds.join(
            _usage, (_usage.c.request_id == _holds.c.request_id) & (_usage.c.slot == _constant(_BILL))
        )
        .outerjoin(_candidates, _is_current)
        .outerjoin(_prices, _prices.c.ref == _pinned("price_ref"))
    )
    .where(_holds.c.request_id == bindparam("request_id"))
)

SELECTS = {name: one for name, one in globals().items() if isinstance(one, Select) and name.isupper()}


def compiled() -> dict[str, dict[str, Any]]:
    """Each select by its name, and by database: its SQL with parameters $1, $2, …, and their names in that order."""
    made: dict[str, dict[str, Any]] = {}
    for name, statement in sorted(SELECTS.items()):
        for dialect in _DIALECTS:
            one = statement.compile(dialect=dialect)
            sql = " ".join(line.strip() for line in str(one).splitlines())
            made.setdefault(name, {})[dialect.name] = {"sql": sql, "names": one.positiontup or []}
    return made
