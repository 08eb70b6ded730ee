"""Owns connections to PostgreSQL and their settings, straight or through a pooler (PgBouncer, Supabase's).

A pooler gives each transaction any connection of the server's. So start-up parameters do not reach it, or reach others
too, and a prepared statement may be missing in the next transaction. Behind one, settings are made anew in every
transaction, and no statement is kept.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg
from msgspec import Struct

from runtime.settings.settings import SettingsError

# A default that no server has, which every writer changes: where it is unchanged, parameters do not arrive.
WITNESS = "enable_seqscan"
_WITNESS_SQL = f"DO $$ BEGIN IF current_setting('{WITNESS}') <> 'off' THEN RAISE 'parameters are ignored'; END IF; END $$"
_STATEMENT_POOLING = "statement pooling"


class Link(Struct, frozen=True):
    """How a database is reached: through a pooler or straight."""

    url: str
    timeout_s: float
    pooled: bool = False

    async def connect(self, settings: Mapping[str, str], command_timeout_s: float) -> Any:
        """A connection, with its settings unless there is a pooler between."""
        apart: dict[str, Any] = {"statement_cache_size": 0} if self.pooled else {}
        if settings and not self.pooled:
            apart = {"server_settings": settings}
        return await asyncpg.connect(
            self.url, timeout=self.timeout_s, command_timeout=command_timeout_s, **apart
        )

    async def pool(self, size: int, command_timeout_s: float) -> Any:
        """Connections for small reads."""
        apart: dict[str, Any] = {"statement_cache_size": 0} if self.pooled else {}
        return await asyncpg.create_pool(
            self.url,
            min_size=0,
            max_size=size,
            timeout=self.timeout_s,
            command_timeout=command_timeout_s,
            **apart,
        )

    async def set_local(self, connection: Any, settings: Mapping[str, str]) -> None:
        """Settings of the transaction that has begun, where its connection could not have them."""
        if self.pooled:
            # In the simple protocol: all of them at once, and none prepared.
            await connection.execute(
                "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())
            )


async def reach(url: str, timeout_s: float, settings: Mapping[str, str], command_timeout_s: float) -> Any:
    """A connection that has the settings, and how it was reached. They set `WITNESS` off.

    Raises SettingsError for a pooler that has no transactions, and what asyncpg raises.
    """
    straight = Link(url, timeout_s)
    try:
        connection = await straight.connect(settings, command_timeout_s)
    except asyncpg.ProtocolViolationError:  # how a pooler says that it does not know a parameter
        connection = None
    if connection is not None:
        try:
            await connection.execute(_WITNESS_SQL)
        except asyncpg.RaiseError:
            await connection.close(timeout=timeout_s)
        except BaseException:
            connection.terminate()
            raise
        else:
            return connection, straight
    pooled = Link(url, timeout_s, pooled=True)
    connection = await pooled.connect(settings, command_timeout_s)
    try:
        async with connection.transaction():
            await pooled.set_local(connection, settings)
            await connection.execute(_WITNESS_SQL)
    except asyncpg.PostgresError as error:
        connection.terminate()
        if _STATEMENT_POOLING in str(error) or isinstance(error, asyncpg.RaiseError):
            raise SettingsError(
                f"[ledger] database_url: the pooler there keeps no transaction together ({error}): "
                "set its pool_mode to transaction or session, or name the database itself"
            ) from None
        raise
    except BaseException:
        connection.terminate()
        raise
    return connection, pooled
