"""Owns what is priced in a request: what it asks for, and a true bound of its prompt in tokens, before any hold.

Everything here reads the caller's own bytes: a map of raw JSON values, decoded one level deep.
"""

import re
from typing import Any, NoReturn

import msgspec
from msgspec import Raw, Struct

from schemas.asked import NOTHING_SEEN, Ask, Bound, Document, Fields, Seen
from schemas.catalogue.aliases import CANDIDATES_MAX
from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.forwarded import LISTED
from schemas.catalogue.model import Model
from schemas.chat import counted
from schemas.chat.caching import LONG_TTLS, SHORT_TTLS, ttls
from schemas.chat.counted import NOTHING, Counted
from schemas.chat.growth import growth_tokens
from schemas.chat.media import PDF, TEXT, base64_start, file_kind
from schemas.chat.parameters import NO_PROMPT, PRICED
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.errors import WireError, invalid, unsupported_parameter, unsupported_value
from schemas.json import UNREADABLE, check_text, mending
from schemas.media.encoded import size_bytes
from schemas.money.pricing import prices_long_caches, sells
from schemas.names import by_fold, is_plain, meant, twice

MODEL_CHARS_MAX = 256
CHOICES_MAX = 128  # OpenAI's own bound of n
PROMPTS_MAX = 2048  # prompts of one legacy completion request
LIMIT_MAX = 2**31 - 1
# Each takes a step of the loop, where a conversation has media at all.
PARTS_MAX = 100_000  # messages and parts of their contents
MEDIA_MAX = 4_096  # of those parts that are no text: more than any provider takes
_LIMITS = ("max_tokens", "max_completion_tokens")
COMPLETIONS_LIMIT = 16  # what an absent max_tokens means on /v1/completions, at OpenAI too

# What a list of messages must contain before any part of it can be something other than text. A key may be written
# with escapes, so any \u counts.
_MEDIA_SIGNS = (b'_url"', b'"input_audio"', b'"audio"', b'"file"', b'"image', b'"video', b"\\u")
_REMOTE_SIGN = re.compile(rb"url|uri|_id\"|\\u|:(?://|\\/)", re.IGNORECASE)
_MEDIA_NAME = re.compile("url|uri|_id$|image|video|audio", re.IGNORECASE)
_CALL_SIGNS = (b'"arguments"', b'"tool_call_id"')
_SPACED = b'": '
_SPACED_BYTES = 64  # of a body, in which its first colon stands
_OBJECTS = re.compile(rb"\[\s*\{")
_TEXT_PARTS = frozenset(("text", "refusal"))
_OPENAI = "openai"
_PRICED_TIERS = frozenset(("auto", "default"))


class RequestError(Exception):
    """A body that cannot be served, with the 400 that says why, and further headers of that answer."""

    def __init__(self, error: WireError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(error.message)
        self.error = error
        self.headers = headers


class _StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _UsageOptions(Struct, frozen=True):
    include: bool | None = None


class _File(Struct, frozen=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: Any = None


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_texts = msgspec.json.Decoder(list[str] | None).decode
_decode_count = msgspec.json.Decoder(int | None).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode
_decode_stream_options = msgspec.json.Decoder(_StreamOptions | None).decode
_decode_usage = msgspec.json.Decoder(_UsageOptions | None).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_tokens = msgspec.json.Decoder(list[int]).decode
_decode_file = msgspec.json.Decoder(_File).decode
_encode = msgspec.json.Encoder().encode
_FOLDS = by_fold(PRICED)
_NULL = Raw(b"null")
_BYTES = [bytes((byte,)) for byte in range(256)]
_NAMES: dict[Any, str] = {
    _decode_text: "a string",
    _decode_texts: "an array of strings",
    _decode_count: "an integer",
    _decode_flag: "a boolean",
    _decode_stream_options: "an object of booleans",
    _decode_usage: 'an object: {"include": true}',
}


def decode(body: bytes) -> Fields:
    """A body's top level, in the caller's order, values untouched but for white space. Raises RequestError 400.

    A name that is there twice is refused: some servers read the first value, and others the last. Half a character is
    the one thing that is put right: it becomes U+FFFD.
    """
    try:
        check_text(body)
        if body.find(_SPACED, 0, _SPACED_BYTES) >= 0:  # who writes one blank writes many
            return _compacted(body)
        fields = mending(_decode_fields, body)
        return fields if is_plain(body, (fields,)) else _compacted(body)
    except UnicodeDecodeError:
        raise RequestError(invalid("The request body must be UTF-8.")) from None
    except UNREADABLE as fault:
        detail = str(fault).replace("\x00", " ")[:200]
        message = f"We could not parse the JSON body of your request: it must be one JSON object. ({detail})"
        raise RequestError(invalid(message)) from None


def _compact(body: bytes) -> bytes:
    return msgspec.json.format(body, indent=-1)


def _compacted(body: bytes) -> Fields:
    """The same of a body that has white space, names with escapes in them, or one of them twice."""
    compact = mending(_compact, body)
    fields = _decode_fields(compact)
    if not is_plain(compact, (fields,)) and (name := twice(compact)) is not None:
        shown = name[:MODEL_CHARS_MAX]
        text = f"'{shown}' is in your request twice: send it once."
        if not name:
            text = "The JSON body of your request has a name twice, or one with escapes in it: write each once, plainly."
        raise RequestError(invalid(text, param=shown or None, code="invalid_value"))
    return fields


def encode(fields: Fields) -> bytes:
    """The body that goes on: the same map in the same order, gateway-private keys removed, `model` always there."""
    if "usage" not in fields and "models" not in fields:
        return _encode(fields)
    kept = dict(fields)
    kept.pop("usage", None)
    models = kept.pop("models", None)
    if models is not None and _starts(kept.get("model", _NULL)) == b"n":
        kept["model"] = Raw(_encode(_decode_texts(models)[0]))  # what reads the body on its way wants one
    return _encode(kept)


def read(fields: Fields, dialect: str) -> Ask:
    """What a body asks for. Raises RequestError."""
    refuse_likeness(fields, LISTED, _FOLDS, "max_tokens")
    names = candidates(fields)
    prompts = _messages(fields) if dialect == CHAT else _prompts(fields)
    n = count(fields, "n", CHOICES_MAX) or 1
    best_of = count(fields, "best_of", CHOICES_MAX)
    stream = flag(fields, "stream")
    if best_of is not None and best_of < n:
        _refuse("best_of", f"'best_of' ({best_of}) must be at least 'n' ({n}).")
    if stream and best_of is not None and best_of > n:
        _refuse("best_of", "'best_of' cannot be larger than 'n' in a stream.")
    options = _value(fields, "stream_options", _decode_stream_options) if "stream_options" in fields else None
    if options is not None and not stream:
        _refuse("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    include_cost = wants_cost(fields)
    limits = [count(fields, name, LIMIT_MAX) for name in _LIMITS if name in fields]
    set_limits = [limit for limit in limits if limit is not None]
    limit = max(set_limits) if set_limits else None
    if limit is None and dialect == COMPLETIONS:
        limit = COMPLETIONS_LIMIT
    return Ask(
        candidates=names,
        stream=stream,
        include_usage=stream and (include_cost or (options is not None and bool(options.include_usage))),
        include_cost=include_cost,
        inputs=prompts,
        choices=prompts * max(n, best_of or 1),
        limit=limit,
        limit_set=bool(set_limits),
    )


def refuse_likeness(fields: Fields, known: frozenset[str], folds: dict[str, str], limit: str) -> None:
    """Raises RequestError 400 for a name that some reader takes for one of the `known`, or for a second `limit`."""
    found = likeness(fields, known, folds, limit)
    if found is not None:
        shown, took = found
        _refuse(shown, f"Unknown parameter: '{shown}'. Write '{took}', once.", "unknown_parameter")


def likeness(
    fields: Fields, known: frozenset[str], folds: dict[str, str], limit: str
) -> tuple[str, str] | None:
    """Such a name, cut to what an error shows, and what it is taken for; None if there is none."""
    if fields.keys() <= known:
        return None
    for name in fields.keys() - known:
        if (took := meant(name, known, folds, limit)) and _starts(fields[name]) != b"n":
            return name[:MODEL_CHARS_MAX], took
    return None


def bound(fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
    """The bound of a body's prompt for one model. Raises RequestError for what cannot be bounded.

    No tokenizer makes more tokens of a text than it has bytes, and no JSON value is shorter than the text it stands
    for: so the raw bytes of all that may reach a prompt bound it, plus the provider's hidden prompt and what a translation adds. Inline media is
    taken out of that, and counts as the most that this image, file or recording can be, by what its own bytes and `seen`
    say of it.

    The bound of a batch is the sum over its inputs: each is at most a context, and what stands beside the inputs (a
    `suffix`) reaches every one of them.
    """
    tier = priced_tier(fields, model)
    text_bytes = sum(_size(value) for name, value in fields.items() if name not in NO_PROMPT)
    media = NOTHING
    told = 0
    documents: tuple[Document, ...] = ()
    messages = fields.get("messages")
    if messages is not None:
        raw = bytes(messages)
        if _may_hold_media(raw):
            found = Media(model, seen)
            found.read(messages)
            text_bytes -= found.inline_bytes
            media, documents = found.sum, tuple(found.documents)
        told = 0 if model.family in PASS_THROUGH else growth_tokens(raw, *_CALL_SIGNS)
    tokens_max = text_bytes + media.most + told + model.capabilities.overhead_tokens * ask.inputs
    if ask.inputs > 1:
        tokens_max += (text_bytes - _size(fields["prompt"])) * (ask.inputs - 1)
    prompt_max = min(model.context * ask.inputs, tokens_max)
    limit = None if ask.limit is None else min(ask.limit, model.max_output)
    return Bound(
        prompt_max=max(prompt_max, 1),
        text_bytes=text_bytes,
        limit=limit,
        media_tokens=media.likely,
        documents=documents,
        uplifts=() if tier is None else (tier,),
    )


def _may_hold_media(raw: bytes) -> bool:
    """Whether a list of messages may have a part that is no text."""
    # Parts stand in a list of their own: most conversations have none, and are looked through once for its bracket.
    if raw.startswith(b"[") and raw.find(b"[", 1) < 0 and b'"audio"' not in raw and b"\\u" not in raw:
        return False
    return any(sign in raw for sign in _MEDIA_SIGNS)


class Media:
    """Counts the parts of a conversation that are not text."""

    def __init__(self, model: Model, seen: Seen) -> None:
        self._model = model
        self._seen = seen
        self.inline_bytes = 0
        self.sum = NOTHING
        self.documents: list[Document] = []
        self._parts = self._media = 0

    def read(self, messages: Raw) -> None:
        """Adds up a raw list of messages."""
        try:
            for index, message in enumerate(self._objects(messages)):
                audio = message.get("audio")
                if audio is not None and _starts(audio) != b"n":
                    self._take("audio", f"messages[{index}].audio", self._model.capabilities.audio_tokens_max)
                    self._add(counted.recording(self._model.capabilities, self._seen, ""))
                content = message.get("content")
                if content is not None and _starts(content) == b"[":
                    for place, part in enumerate(self._objects(content)):
                        self._part(part, f"messages[{index}].content[{place}]")
        except UNREADABLE:
            _refuse("messages", "Each of 'messages' must be an object, each part of a content too.")

    def _objects(self, raw: Raw) -> list[Fields]:
        found = _decode_objects(raw)
        self._parts += len(found)
        if self._parts > PARTS_MAX:
            _refuse(
                "messages", f"At most {PARTS_MAX} messages and parts of them are read where any is media."
            )
        return found

    def _part(self, part: Fields, param: str) -> None:
        kind = _decode_text(part.get("type", _NULL))
        capabilities = self._model.capabilities
        if kind in _TEXT_PARTS:
            return
        if kind == "image_url":
            self._picture(part.get("image_url", _NULL), param)
        elif kind == "input_audio":
            data = _decode_fields(part.get("input_audio", _NULL)).get("data", _NULL)
            self.inline_bytes += _size(data)
            self._take("audio", param, capabilities.audio_tokens_max)
            self._add(counted.recording(capabilities, self._seen, _text(data)))
        elif kind == "file":
            self._file(part.get("file", _NULL), param)
        elif any(map(_MEDIA_NAME.search, (kind or "", *part))) or any(
            map(_REMOTE_SIGN.search, part.values())
        ):
            raise RequestError(
                unsupported_value(
                    param, f"A content part of type {kind!r} cannot be bounded before it is paid for."
                )
            )

    def _picture(self, value: Raw, param: str) -> None:
        able = self._model.capabilities
        detail = None
        if _starts(value) != b'"':
            image = _decode_fields(value)
            value, detail = image.get("url", _NULL), _text(image.get("detail", _NULL))
        url = msgspec.json.decode(value, type=str)
        inline = url[:5].lower() == "data:"
        if inline:
            self.inline_bytes += _size(value)
        elif not able.remote_images:
            raise RequestError(
                unsupported_value(
                    param,
                    f"The model `{self._model.id}` takes images only inline, as a data URL: an image behind "
                    "another URL cannot be bounded before it is paid for.",
                )
            )
        self._take("image", param, able.image_tokens_max)
        if inline and base64_start(url) < 0:
            self._add(Counted(able.image_tokens_max, able.image_tokens_max))
        else:
            self._add(counted.picture(able, self._seen, url, base64_start(url), detail))

    def _file(self, value: Raw, param: str) -> None:
        file = _decode_file(value)
        remote = file.file_data is not None and file.file_data[:6].lower() in ("http:/", "https:")
        if file.file_id is not None or file.file_data is None or remote:
            message = (
                "Only files sent inline, as 'file_data', are supported: one kept elsewhere cannot be bounded before "
                "it is paid for."
            )
            raise RequestError(unsupported_value(param, message))
        self.inline_bytes += _size(_decode_fields(value)["file_data"])  # its name is text
        able = self._model.capabilities
        self._take("file", param, able.file_tokens_max)
        kind, start = file_kind(file.file_data, file.filename if isinstance(file.filename, str) else "")
        if kind == TEXT and kind in able.file_types:
            self._add(counted.plain_text(able, size_bytes(file.file_data, start)))
        elif kind == PDF:
            if able.image_tokens_max and param not in self._seen.pages and not self._seen.caps_only:
                self.documents.append(Document(param, file.file_data, start))
            self._add(counted.document(able, self._seen, param))
        else:
            self._add(Counted(able.file_tokens_max, able.file_tokens_max))

    def _take(self, kind: str, param: str, tokens_max: int) -> None:
        self._media += 1
        if self._media > MEDIA_MAX:
            _refuse("messages", f"At most {MEDIA_MAX} pictures, files and recordings are taken.")
        if not tokens_max:
            raise RequestError(
                unsupported_value(param, f"The model `{self._model.id}` takes no {kind} input.")
            )

    def _add(self, media: Counted) -> None:
        self.sum = Counted(self.sum.most + media.most, self.sum.likely + media.likely)


def priced_tier(fields: Fields, model: Model) -> str | None:
    """The service tier that is asked for, None for the default. Refuses what adds to a bill outside known prices."""
    if "web_search_options" in fields and _starts(fields["web_search_options"]) != b"n":
        message = "Web search is billed by what it finds, which cannot be bounded before it is paid for."
        raise RequestError(unsupported_parameter("web_search_options", message))
    if model.family == _OPENAI:
        _check_ttls(fields, model)
    tier: str | None = _value(fields, "service_tier", _decode_text)
    if tier is None or tier in _PRICED_TIERS:
        return None
    # A provider that gets the caller's own bytes is asked for whatever has a price.
    passed_on = model.family in PASS_THROUGH and sells(model.prices, tier)
    if not passed_on and tier not in model.capabilities.service_tiers:
        message = f"The model `{model.id}` has no price for the service tier {tier!r}."
        raise RequestError(unsupported_value("service_tier", message))
    return tier


def _check_ttls(fields: Fields, model: Model) -> None:
    for ttl in ttls(fields) - SHORT_TTLS:
        if ttl not in LONG_TTLS or not prices_long_caches(model.prices):
            message = f"The model `{model.id}` has no price for a cache that lives for {ttl[:40]!r}."
            raise RequestError(unsupported_value("ttl", message))


def candidates(fields: Fields) -> tuple[str, ...]:
    """The names in `model` and `models`, in this order and none twice. Raises RequestError 400."""
    model: str | None = _value(fields, "model", _decode_text)
    models: list[str] | None = _value(fields, "models", _decode_texts) if "models" in fields else None
    if model is None and models is None:
        _missing("model")
    if model is not None and not _is_name(model):
        _refuse("model", f"'model' must be 1 to {MODEL_CHARS_MAX} printable characters.")
    if models is None:
        return (model or "",)
    if not 1 <= len(models) <= CANDIDATES_MAX or not all(map(_is_name, models)):
        _refuse(
            "models",
            f"'models' must be 1 to {CANDIDATES_MAX} names of 1 to {MODEL_CHARS_MAX} printable characters.",
        )
    return tuple(dict.fromkeys(models if model is None else (model, *models)))


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MODEL_CHARS_MAX and text.isprintable()


def _messages(fields: Fields) -> int:
    messages = fields.get("messages", _NULL)
    if not _OBJECTS.match(messages):
        if _starts(messages) == b"n":
            _missing("messages")
        if _starts(messages) != b"[":
            _refuse("messages", "'messages' must be an array.", "invalid_type")
        _refuse("messages", "'messages' must have at least one message, each of them an object.")
    return 1


def _prompts(fields: Fields) -> int:
    """How many prompts a legacy completion has; an absent one is the model's start of text."""
    prompt = fields.get("prompt", _NULL)
    start = _starts(prompt)
    if start in (b"n", b'"'):
        return 1
    prompts = _tokens(prompt)
    if prompts is None:
        prompts = _batch(prompt)
    if prompts < 1:
        _refuse(
            "prompt",
            "'prompt' must be a string, strings, an array of tokens or such arrays, none of them empty.",
        )
    if prompts > PROMPTS_MAX:
        _refuse("prompt", f"'prompt' has {prompts} prompts; at most {PROMPTS_MAX} are allowed.")
    return prompts


def _tokens(prompt: Raw) -> int | None:
    """Prompts of one array of tokens: none if it is empty; None for anything else. Read at once: it may be long."""
    try:
        return 1 if _decode_tokens(prompt) else 0
    except UNREADABLE:
        return None


def _batch(prompt: Raw) -> int:
    """Prompts of an array of strings or of arrays of tokens; -1 for anything else. Too many are not looked at."""
    try:
        items = _decode_list(prompt)
        if len(items) > PROMPTS_MAX:
            return len(items)
        kinds = {_starts(item) for item in items}
        if kinds == {b'"'} or (kinds == {b"["} and all(map(_decode_tokens, items))):
            return len(items)
    except UNREADABLE:
        pass
    return -1


def flag(fields: Fields, name: str) -> bool:
    """A boolean; an absent one is false. Raises RequestError."""
    return name in fields and bool(_value(fields, name, _decode_flag))


def wants_cost(fields: Fields) -> bool:
    """Whether usage objects are to carry `cost`. Raises RequestError 400."""
    usage = _value(fields, "usage", _decode_usage) if "usage" in fields else None
    return usage is not None and bool(usage.include)


def count(fields: Fields, name: str, highest: int) -> int | None:
    """A number from 1 to `highest`; None if it is absent. Raises RequestError 400."""
    if name not in fields:
        return None
    value = _value(fields, name, _decode_count)
    if value is not None and not 1 <= value <= highest:
        _refuse(name, f"'{name}' must be an integer from 1 to {highest}.")
    return None if value is None else int(value)


def _value(fields: Fields, name: str, decoder: Any) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder(raw)
    except UNREADABLE:
        _refuse(name, f"'{name}' must be {_NAMES[decoder]}.", "invalid_type")


def _text(raw: Raw) -> str:
    """A string; "" for any other value."""
    return msgspec.json.decode(raw, type=str) if _starts(raw) == b'"' else ""


def _starts(raw: Raw) -> bytes:
    return _BYTES[memoryview(raw)[0]]  # a third of what it costs to cut that byte out


def _size(raw: Raw) -> int:
    return memoryview(raw).nbytes


def _missing(name: str) -> NoReturn:
    message = f"Missing required parameter: '{name}'."
    raise RequestError(invalid(message, param=name, code="missing_required_parameter"))


def _refuse(name: str, message: str, code: str = "invalid_value") -> NoReturn:
    raise RequestError(invalid(message, param=name, code=code))
