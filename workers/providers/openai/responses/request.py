"""Owns a Responses request on its way to an upstream that speaks the dialect: what goes on, and what is cleaned off it."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from msgspec import Raw, structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.chat.priced import RequestError
from schemas.chat.toolsets import absent
from schemas.dialects.blobs import is_ours
from schemas.dialects.messages.names import told_id
from schemas.errors import invalid
from schemas.json import UNREADABLE
from schemas.responses.fields import PASSED
from schemas.responses.items import CALLS, HOSTED, KNOWN, OUTPUTS, kind_of, kinds_of
from schemas.responses.marks import is_marked, unmarked
from schemas.responses.parts import texts_of
from schemas.responses.reading import take
from schemas.responses.request import Item, Tool
from schemas.responses.tools import is_local
from workers.providers.base import RefusedError
from workers.providers.openai.uplifts import at_default_tier

_CALL_ID_CHARS_MAX: Final = 64
LIMIT_MIN: Final = 16  # OpenAI refuses a lower one
_REASONING: Final = "reasoning"
_NOT_SENT: Final = HOSTED | {"item_reference", "compaction_trigger"}
# An id that is not of its item's kind is refused; others name nothing that the upstream keeps, and are let pass.
_PREFIXES: Final = {
    "message": "msg_",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "local_shell_call": "lsh",
    "shell_call": "sh",
    "apply_patch_call": "apc",
}
_OWN_BLOBS: Final = "gAAAA"  # how OpenAI's encrypted reasoning begins
_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_item = msgspec.json.Decoder(Item).decode
_decode_tool = msgspec.json.Decoder(Tool).decode


def asked(job: Job, added: Collection[str], *, own: bool, waived: bool) -> dict[str, Raw]:
    """The body's fields as an upstream gets them that is OpenAI's `own` or another. Raises RefusedError.

    `added` are names that its pool sends on beside those that are known. `waived` leaves out earlier reasoning.
    """
    try:
        fields = _upstream_fields(job, added, own_blobs_only=own)
    except RequestError as refused:
        raise RefusedError(refused.error) from None
    except UNREADABLE:
        raise RefusedError(invalid("The body is not a JSON object in UTF-8.")) from None
    if waived:
        fields = without_reasoning(fields) or fields
    return at_default_tier(fields) if own else fields


def headers(account: AccountSettings, job: Job) -> dict[str, str]:
    """Whose call it is, and what comes back."""
    told = {
        "Authorization": f"Bearer {account.api_key}",
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if job.stream else "application/json",
    }
    if account.organization:
        told["OpenAI-Organization"] = account.organization
    if account.project:
        told["OpenAI-Project"] = account.project
    return told


def _upstream_fields(job: Job, added: Collection[str], *, own_blobs_only: bool) -> dict[str, Raw]:
    """What of the body goes up, and how; a limit is at least LIMIT_MIN. Raises RequestError.

    `own_blobs_only` drops reasoning that OpenAI cannot have made: other servers' may begin in any way.
    """
    given = _decode_map(job.body)
    fields = {
        name: value
        for name, value in given.items()
        if (name in PASSED or name in added) and not absent(value)
    }
    fields["model"] = Raw(_encode(job.upstream))
    fields["store"] = Raw(b"false")
    if not job.stream:
        fields.pop("stream_options", None)
    asked = fields.get("max_output_tokens")
    if asked is not None or job.write_limit:
        wanted = job.limit if asked is None or job.write_limit else msgspec.json.decode(asked, type=int)
        fields["max_output_tokens"] = Raw(b"%d" % max(wanted, LIMIT_MIN))
    if bytes(fields["input"]).startswith(b"["):
        items = _cleaned(_decode_items(fields["input"]), own_blobs_only=own_blobs_only)
        fields["input"] = Raw(_encode(items))
    if (tools := fields.get("tools")) is not None:
        kept = local_tools(_decode_items(tools))
        fields["tools"] = Raw(_encode(kept))
        if not kept:
            for name in ("tools", "tool_choice", "parallel_tool_calls"):
                fields.pop(name, None)
    return fields


def without_reasoning(fields: dict[str, Raw]) -> dict[str, Raw] | None:
    """The same fields without any earlier reasoning; None if there is none."""
    if not bytes(fields["input"]).startswith(b"["):
        return None
    items = _decode_items(fields["input"])
    kept = [raw for raw in items if kind_of(_decode_item(raw)) != _REASONING]
    return fields | {"input": Raw(_encode(kept))} if len(kept) < len(items) else None


def local_tools(raws: Sequence[Raw]) -> list[Raw]:
    """The tools that run at the caller, those within namespaces too."""
    kept = []
    for index, raw in enumerate(raws):
        tool = take(_decode_tool, raw, f"tools[{index}]")
        if not is_local(tool.type, tool.environment):
            continue
        if tool.tools:
            inner = local_tools(tool.tools)
            if len(inner) < len(tool.tools):
                kept.append(Raw(_encode(_decode_map(raw) | {"tools": Raw(_encode(inner))})))
                continue
        kept.append(raw)
    return kept


def _cleaned(raws: Sequence[Raw], *, own_blobs_only: bool) -> list[Raw]:
    kept: list[Raw] = []
    seen: set[str] = set()  # of ids: one that comes twice is refused
    own = [_unmarked(raw, _decode_item(raw)) for raw in raws]
    items = [item for _, item in own]
    kinds = kinds_of(items)
    again = _told_again(items, kinds)
    for index, ((raw, item), kind) in enumerate(zip(own, kinds, strict=True)):
        if index in again:
            continue
        if kind not in KNOWN:
            if text := texts_of(item.content):
                kept.append(Raw(_encode({"role": "user", "content": text})))
        elif kind == _REASONING:
            if _is_verifiable(item, own_blobs_only=own_blobs_only) and item.id not in seen:
                kept.append(raw)
        elif kind not in _NOT_SENT:
            kept.append(_item(raw, item, kind, seen))
        if item.id:
            seen.add(item.id)
    return kept


def _told_again(items: Sequence[Item], kinds: Sequence[str]) -> set[int]:
    """The places of outputs that another one of the same call follows: the last counts."""
    later: Counter[str] = Counter()  # outputs further on that a call before them may have
    again: set[int] = set()
    if not any(kind in OUTPUTS for kind in kinds):
        return again
    calls = Counter(item.call_id for item, kind in zip(items, kinds, strict=True) if kind in CALLS)
    for index in reversed(range(len(items))):
        call_id = items[index].call_id
        if call_id is None or calls[call_id] != 1:
            continue  # several calls have this id, and each an output
        if kinds[index] in OUTPUTS:
            later[call_id] += 1
            if later[call_id] > 1:
                again.add(index)
    return again


def _unmarked(raw: Raw, item: Item) -> tuple[Raw, Item]:
    """An item under the id that its provider gave it: what is encrypted in it is bound to that."""
    if item.id is None or not is_marked(item.id):
        return raw, item
    item_id = unmarked(item.id)
    fields = _decode_map(raw) | {"id": Raw(_encode(item_id))}
    return Raw(_encode(fields)), structs.replace(item, id=item_id)


def _is_verifiable(item: Item, *, own_blobs_only: bool) -> bool:
    """Whether reasoning can go back: unmodified, with what proves it, and to where it may have come from."""
    blob = item.encrypted_content
    if not blob or is_ours(blob):
        return False
    return blob.startswith(_OWN_BLOBS) or not own_blobs_only


def _item(raw: Raw, item: Item, kind: str, seen: set[str]) -> Raw:
    bad_id = item.id is not None and (item.id in seen or not item.id.startswith(_PREFIXES.get(kind, "\0")))
    more_tools = kind == "additional_tools" and not absent(item.tools)
    long = item.call_id is not None and len(item.call_id) > _CALL_ID_CHARS_MAX
    if not bad_id and not more_tools and not long:
        return raw
    fields = _decode_map(raw)
    if bad_id:
        del fields["id"]
    if long:
        fields["call_id"] = Raw(_encode(told_id(item.call_id or "", _CALL_ID_CHARS_MAX)))
    if more_tools:
        fields["tools"] = Raw(_encode(local_tools(_decode_items(item.tools))))
    return Raw(_encode(fields))
