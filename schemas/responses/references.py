"""Owns references to items of earlier answers: which a request has, which can be resolved, what is said of the others."""

from collections.abc import Sequence
from typing import Final

from schemas.chat.priced import RequestError
from schemas.errors import INVALID_REQUEST, WireError, invalid
from schemas.responses.items import CALLS, OUTPUTS, REFERENCE, kind_of
from schemas.responses.marks import is_marked, is_true
from schemas.responses.reading import refuse_value
from schemas.responses.request import Item

REFERENCES_MAX: Final = 256  # to kept items, in one request
_REASONING: Final = "rs_"


def item_not_found(item_id: str) -> WireError:
    """404: what a reference names is not kept, in the words that OpenAI has for it."""
    message = (
        f"Item with id '{item_id[:128]}' not found. Items are not persisted when `store` is set to false, and this "
        "gateway keeps them for an hour at most: send them whole. With the AI SDK set "
        "providerOptions.openai.store to false."
    )
    return WireError(404, INVALID_REQUEST, message, None, "input")


def is_lossless(item_id: str) -> bool:
    """Whether a conversation goes on without an item: reasoning that is kept nowhere is no more than lost."""
    return item_id.startswith(_REASONING)


def verified(scope: str, item_ids: Sequence[str]) -> tuple[str, ...]:
    """The marked ids of a request whose marks were made for its key's scope; reasoning's others are left out.

    Raises RequestError: 404 for any other, 400 for too many, or for one that is named twice.
    """
    if len(item_ids) > REFERENCES_MAX:
        refuse_value("input", f"At most {REFERENCES_MAX} items are referred to.")
    found: dict[str, None] = {}
    for item_id in item_ids:
        if item_id in found:
            message = f"Duplicate item found with id {item_id[:128]}. Remove duplicate items from your input."
            raise RequestError(invalid(message, param="input"))
        if is_true(scope, item_id):
            found[item_id] = None
        elif not is_lossless(item_id):
            raise RequestError(item_not_found(item_id))
    return tuple(found)


def check_references(items: Sequence[Item], *, pending: bool) -> None:
    """Raises RequestError 404 for a reference to what is kept nowhere.

    While references are `pending` a marked one is not judged: it is resolved later, or was refused before.
    """
    for item in items:
        if kind_of(item) != REFERENCE:
            continue
        item_id = item.id or ""
        if not is_lossless(item_id) and not (pending and is_marked(item_id)):
            raise RequestError(item_not_found(item_id))


def judged_now(items: list[Item]) -> list[Item]:
    """The items that can be judged while references are pending, each at its place.

    A result may be that of a call behind a reference: it is left to whoever resolves them.
    """
    pending = next((item for item in items if kind_of(item) == REFERENCE and is_marked(item.id or "")), None)
    if pending is None:
        return items
    called = {item.call_id or item.id for item in items if kind_of(item) in CALLS}
    return [
        pending if kind_of(item) in OUTPUTS and (item.call_id or item.id) not in called else item
        for item in items
    ]
