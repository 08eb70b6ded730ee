"""Owns how a vendor of OpenAI's protocol wants its requests: what it would refuse, and its own words for the rest, as data."""

from typing import Any, Final

from msgspec import Struct

from runtime.toml import Table

# What of OpenAI's fields tells something to OpenAI alone: elsewhere it means nothing, and strict servers refuse it.
OPENAI_ONLY: Final = (
    "store",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "verbosity",
)
_CALL_ID_CHARS_MAX: Final = 64
_SCALARS: Final = (bool, int, str)


class Quirks(Struct, frozen=True, kw_only=True):
    """What of a request is said otherwise. A `developer` message is a `system` one everywhere but at OpenAI.

    `drop` are top-level fields that are never sent, `unsaid` those that are not sent with this value, which is the
    default anyway, and `rename` gives a field's name here. `drop_said` are fields of assistant messages that are never
    sent; `reasoning` is the field in which such a message with calls has to bring its reasoning back. Tool-call ids are
    `call_id_chars` letters and digits, whatever a caller has written; 0 takes any. `model_prefix` goes before a model's
    id that has no `/`.
    """

    drop: tuple[str, ...] = OPENAI_ONLY
    unsaid: dict[str, Any] = {}
    rename: dict[str, str] = {}
    drop_said: tuple[str, ...] = ()
    reasoning: str = ""
    call_id_chars: int = 0
    strict_tools: bool = True
    model_prefix: str = ""


def read_quirks(table: Table) -> Quirks:
    """The quirks of one row: its `drop` stands beside OPENAI_ONLY. Raises SettingsError."""
    unsaid, rename = table.table("unsaid"), table.table("rename")
    quirks = Quirks(
        drop=(*OPENAI_ONLY, *(table.texts("drop") or ())),
        unsaid={name: _scalar(unsaid, name) for name in unsaid.keys()},  # noqa: SIM118  a Table is not a dict
        rename={name: rename.needed(name) for name in rename.keys()},  # noqa: SIM118  as above
        drop_said=table.texts("drop_said") or (),
        reasoning=table.text("reasoning"),
        call_id_chars=table.integer("call_id_chars", 0, least=0, most=_CALL_ID_CHARS_MAX) or 0,
        strict_tools=table.boolean("strict_tools", default=True),
        model_prefix=table.text("model_prefix"),
    )
    table.done()
    return quirks


def _scalar(table: Table, name: str) -> Any:
    value = table.take_any(name)
    if type(value) not in _SCALARS:
        raise table.problem(name, "must be a whole number, a text, true or false")
    return value
