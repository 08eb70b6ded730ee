"""Owns `[[aliases]]`: how a file's names for models become lists of rows, once and for all."""

from collections.abc import Collection

from msgspec import Struct

from runtime.toml import Table
from schemas.catalogue.aliases import CANDIDATES_MAX, Alias

ALIASES_MAX = 256  # in one file: as deep as aliases of aliases can go
ID_CHARS_MAX = 256


class _Written(Struct, frozen=True):
    """An alias as the file has it, with its table for messages."""

    table: Table
    models: tuple[str, ...]


def read_aliases(tables: list[Table], model_ids: Collection[str], bare: Collection[str]) -> tuple[Alias, ...]:
    """The aliases of a file, each resolved to ids of rows. Raises SettingsError.

    `bare` are the ids that vendors' rows have beside those with their pools' names: an alias takes such an id.
    Refused are any other id that a model has, a name that nothing has, a circle, and more than CANDIDATES_MAX models.
    """
    written: dict[str, _Written] = {}
    for table in tables:
        alias_id = _id(table, model_ids, bare)
        if alias_id in written:
            raise table.problem("id", f"two aliases are called {alias_id!r}: give one another name")
        if len(written) >= ALIASES_MAX:
            raise table.problem("id", f"there are more than {ALIASES_MAX} aliases: leave some out")
        written[alias_id] = _Written(table, _models(table))
        table.done()
    resolved: dict[str, tuple[str, ...]] = {}
    for alias_id in written:
        _resolve(alias_id, written, model_ids, resolved, ())
    return tuple(Alias(alias_id, models) for alias_id, models in resolved.items())


def _id(table: Table, model_ids: Collection[str], bare: Collection[str]) -> str:
    alias_id = table.needed("id")
    if len(alias_id) > ID_CHARS_MAX or not alias_id.isprintable() or alias_id != alias_id.strip():
        raise table.problem("id", f"must be at most {ID_CHARS_MAX} printable characters")
    if alias_id in model_ids and alias_id not in bare:
        raise table.problem("id", f"{alias_id!r} is a model too: give the alias another name")
    return alias_id


def _models(table: Table) -> tuple[str, ...]:
    models = table.texts("models")
    if not models or len(models) > CANDIDATES_MAX:
        raise table.problem("models", f"must name 1 to {CANDIDATES_MAX} models or aliases")
    return models


def _resolve(
    alias_id: str,
    written: dict[str, _Written],
    model_ids: Collection[str],
    resolved: dict[str, tuple[str, ...]],
    above: tuple[str, ...],
) -> tuple[str, ...]:
    """The rows of an alias; `above` are the aliases that it stands in."""
    if alias_id in resolved:
        return resolved[alias_id]
    table, above = written[alias_id].table, (*above, alias_id)
    found: dict[str, None] = {}  # in order, none twice
    for name in written[alias_id].models:
        if name in model_ids and name not in written:
            found[name] = None
        elif name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            raise table.problem("models", f"go in a circle: {circle}; take one of these names out")
        elif name in written:
            found.update(dict.fromkeys(_resolve(name, written, model_ids, resolved, above)))
        else:
            raise table.problem(
                "models", f"{name!r} is neither a model nor an alias: add [[models]] for it or take it out"
            )
    if len(found) > CANDIDATES_MAX:
        raise table.problem(
            "models", f"stand for {len(found)} models, at most {CANDIDATES_MAX} are tried: take some out"
        )
    resolved[alias_id] = tuple(found)
    return resolved[alias_id]
