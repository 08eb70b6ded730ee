"""Owns what is refused before any money moves: all that a model, by its capability row, could not honour."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.conversations import check_conversation, ends_with_assistant
from schemas.chat.priced import RequestError
from schemas.chat.request import CHAT, ChatRequest, CompletionRequest, Message
from schemas.chat.toolsets import check_tools
from schemas.errors import WireError, invalid, unsupported_parameter, unsupported_value
from schemas.json import check_text

PROMPTS_MAX = 128  # of one emulated legacy completion: each is a call of its own

_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")
_STOP_CHARS_MAX = 1_024

_decode_chat = msgspec.json.Decoder(ChatRequest).decode
_decode_completion = msgspec.json.Decoder(CompletionRequest).decode

# Never honoured by a translated family, whatever the model.
_NEVER = (
    "functions",
    "function_call",
    "audio",
    "prediction",
    "web_search_options",
    "moderation",
    "logit_bias",
)
_HINTS = {"functions": " Send `tools` instead.", "function_call": " Send `tool_choice` instead."}


def refuse(model: Model, dialect: str, body: bytes) -> WireError | None:
    """The 400 for a body that a model cannot honour as it is; None if it can, or if its provider judges for itself."""
    able = model.capabilities
    if (error := embeds_only(model)) is not None:
        return error
    if not able.chat and (dialect == CHAT or not able.completions):
        return not_chat(model)
    if model.family in PASS_THROUGH and (dialect == CHAT or able.completions):
        return None
    request = read(dialect, body)
    if isinstance(request, WireError):
        return request
    if isinstance(request, ChatRequest):
        return refuse_chat(model, request)
    try:
        _check_completion(request, model)
    except RequestError as refused:
        return refused.error
    return None


def refuse_chat(model: Model, request: ChatRequest) -> WireError | None:
    """The 400 for a typed request that a translated family cannot honour with a model; None if it can."""
    try:
        _check_chat(request, model)
    except RequestError as refused:
        return refused.error
    return None


def not_chat(model: Model) -> WireError | None:
    """The 400 for a model that no conversation can be had with, which names the route that it is for."""
    able = model.capabilities
    if able.chat:
        return None
    path = "/v1/completions" if able.completions else "/v1/responses"
    return embeds_only(model) or invalid(f"`{model.id}` is not a chat model. Use {path}.", param="model")


def embeds_only(model: Model) -> WireError | None:
    """The 400 for a model that answers with vectors alone, on any other route."""
    able = model.capabilities
    if able.embeddings is None or able.chat or able.completions:
        return None
    return invalid(f"Its provider serves the model `{model.id}` by /v1/embeddings only.", param="model")


def read(dialect: str, body: bytes) -> ChatRequest | CompletionRequest | WireError:
    """A body as its dialect's typed request, or the 400 that says which field is wrong."""
    try:
        check_text(body)
        return _decode_chat(body) if dialect == CHAT else _decode_completion(body)
    except UnicodeDecodeError:
        return invalid("The request body must be UTF-8.")
    except RecursionError:
        return invalid("The request body is nested too deeply.")
    except msgspec.MsgspecError as fault:
        return unreadable(str(fault))


def as_chats(request: CompletionRequest) -> list[ChatRequest]:
    """The chat requests that emulate a legacy completion: one a prompt. The prompts must have passed `refuse`."""
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt or []
    top = request.logprobs
    return [
        ChatRequest(
            model=request.model,
            messages=[Message(role="user", content=prompt)],
            stop=request.stop,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            n=request.n,
            seed=request.seed,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            logprobs=None if top is None else True,
            top_logprobs=top or None,
            stream=request.stream,
            stream_options=request.stream_options,
            user=request.user,
        )
        for prompt in prompts
        if isinstance(prompt, str)
    ]


def unreadable(text: str, place: str = "") -> WireError:
    """The 400 for what a decoder says of a value. `place` is that value's own in the body, where it is not the whole."""
    found = _PATH.search(text)
    path = _joined(place, found[1] if found else "")
    reason = text[: found.start()] if found else text
    if missing := _MISSING.search(reason):
        param = _joined(path, missing[1])
        return invalid(
            f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    if not path:
        return invalid(f"The JSON body of your request cannot be used: {reason[:200]}")
    code = "invalid_type" if reason.startswith("Expected") else "invalid_value"
    return invalid(f"Invalid '{path}': {reason[:200]}.", param=path, code=code)


def _joined(place: str, inner: str) -> str:
    if not place or not inner:
        return place or inner
    return f"{place}{inner}" if inner.startswith("[") else f"{place}.{inner}"


def _check_completion(request: CompletionRequest, model: Model) -> None:
    where = f"the model `{model.id}`, whose completions are emulated over chat"
    _check_prompts(request, where)
    if request.suffix:
        raise RequestError(unsupported_parameter("suffix", f"'suffix' is not supported by {where}."))
    if request.best_of is not None and request.best_of > 1:
        raise RequestError(
            unsupported_parameter("best_of", f"'best_of' above 1 is not supported by {where}.")
        )
    if request.logit_bias:
        raise RequestError(unsupported_parameter("logit_bias", f"'logit_bias' is not supported by {where}."))
    if request.logprobs is not None and request.echo:
        message = f"'logprobs' of an echoed prompt are not supported by {where}."
        raise RequestError(unsupported_parameter("logprobs", message))
    if request.logprobs is not None and not 0 <= request.logprobs <= 5:
        raise RequestError(_range("logprobs", 0, 5))
    if model.family in PASS_THROUGH:
        return  # it judges the chat request that this becomes
    for chat in as_chats(request)[:1]:  # they differ in nothing but their text
        _check_values(chat, model)


def _check_prompts(request: CompletionRequest, where: str) -> None:
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    if not prompts:
        raise RequestError(
            invalid(
                "Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter"
            )
        )
    if not all(isinstance(prompt, str) for prompt in prompts):
        message = f"Prompts of token ids are not supported by {where}: send text."
        raise RequestError(unsupported_value("prompt", message))
    if not all(prompt.strip() for prompt in prompts):
        raise RequestError(unsupported_value("prompt", f"Empty prompts are not supported by {where}."))
    if len(prompts) > PROMPTS_MAX:
        message = f"At most {PROMPTS_MAX} prompts are supported by {where}."
        raise RequestError(unsupported_value("prompt", message))


def _check_chat(request: ChatRequest, model: Model) -> None:
    for name in _NEVER:
        if getattr(request, name):
            raise RequestError(
                unsupported_parameter(name, _not_supported(name, model) + _HINTS.get(name, ""))
            )
    _check_values(request, model)
    check_tools(request, model)
    check_conversation(request, model)


def _check_values(request: ChatRequest, model: Model) -> None:
    able = model.capabilities
    if request.stream and not able.stream:
        raise RequestError(unsupported_value("stream", _not_supported("stream", model)))
    if request.stream_options is not None and not request.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RequestError(invalid(message, param="stream_options"))
    for name in ("max_tokens", "max_completion_tokens"):
        limit = getattr(request, name)
        if limit is not None and limit < 1:
            raise RequestError(invalid(f"'{name}' must be at least 1.", param=name, code="invalid_value"))
    if request.modalities is not None and request.modalities != ["text"]:
        raise RequestError(unsupported_value("modalities", f"{_named(model)} answers with text only."))
    if request.service_tier not in (None, "auto", "default", *able.service_tiers):
        raise RequestError(
            unsupported_value("service_tier", _value("service_tier", request.service_tier, model))
        )
    _check_choices(request, model)
    _check_sampling(request, model)
    _check_at_none(request, model)
    _check_stops(request.stop, model)
    _check_effort(request, model)


def _check_choices(request: ChatRequest, model: Model) -> None:
    able = model.capabilities
    if request.n is not None and request.n < 1:
        raise RequestError(invalid("'n' must be at least 1.", param="n", code="invalid_value"))
    if (request.n or 1) > able.n_max:
        if able.n_max == 1:
            raise RequestError(
                unsupported_parameter("n", f"{_named(model)} gives one choice: leave 'n' out.")
            )
        raise RequestError(unsupported_value("n", f"{_named(model)} gives at most {able.n_max} choices."))
    if request.logprobs and not able.logprobs:
        raise RequestError(unsupported_parameter("logprobs", _not_supported("logprobs", model)))
    if request.top_logprobs is None or (request.top_logprobs == 0 and not request.logprobs):
        return
    if not request.logprobs:
        code = "unsupported_parameter" if not able.logprobs else "invalid_value"
        message = "'top_logprobs' needs 'logprobs' to be true."
        raise RequestError(invalid(message, param="top_logprobs", code=code))
    if not 0 <= request.top_logprobs <= 20:
        raise RequestError(_range("top_logprobs", 0, 20))


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
)


def out_of_range(request: ChatRequest) -> WireError | None:
    """The 400 for a number that no model samples by; None if there is none."""
    for name, low, high in _RANGES:
        number = getattr(request, name)
        if number is not None and not low <= number <= high:
            return _range(name, low, high)
    return None


def _check_sampling(request: ChatRequest, model: Model) -> None:
    able = model.capabilities
    if (error := out_of_range(request)) is not None:
        raise RequestError(error)
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name) and not (able.penalties and able.sampling):
            raise RequestError(unsupported_parameter(name, _not_supported(name, model)))
    if request.top_k is not None and (not able.top_k or request.top_k < 1):
        raise RequestError(unsupported_parameter("top_k", _not_supported("top_k", model)))
    set_names = [name for name in ("temperature", "top_p") if getattr(request, name) not in (None, 1)]
    if not able.sampling and (set_names or request.top_k is not None):
        name = set_names[0] if set_names else "top_k"
        raise RequestError(
            unsupported_parameter(name, f"{_named(model)} samples at its defaults: leave '{name}' out.")
        )
    if len(set_names) == 2 and not able.temperature_with_top_p:
        message = f"{_named(model)} takes 'temperature' or 'top_p', not both."
        raise RequestError(unsupported_parameter("top_p", message))


def _check_at_none(request: ChatRequest, model: Model) -> None:
    """What a model takes only while it does not reason."""
    able = model.capabilities
    if not able.sampling_at_none or (request.reasoning_effort or able.effort_default) == "none":
        return
    names = [name for name in ("temperature", "top_p") if getattr(request, name) not in (None, 1)]
    names += [
        name
        for name in ("presence_penalty", "frequency_penalty", "logprobs", "stop")
        if getattr(request, name)
    ]
    if names:
        message = f"{_named(model)} takes '{names[0]}' only with a 'reasoning_effort' of none."
        raise RequestError(unsupported_parameter(names[0], message))


def _check_stops(stop: str | list[str] | None, model: Model) -> None:
    stops = [stop] if isinstance(stop, str) else stop or []
    able = model.capabilities
    if len(stops) > able.stop_max:
        raise RequestError(
            unsupported_value("stop", f"{_named(model)} takes at most {able.stop_max} stop sequences.")
        )
    pattern = able.stop_pattern
    for index, text in enumerate(stops):
        param = "stop" if isinstance(stop, str) else f"stop[{index}]"
        if not text or len(text) > _STOP_CHARS_MAX:
            message = f"A stop sequence must have 1 to {_STOP_CHARS_MAX} characters."
            raise RequestError(invalid(message, param=param, code="invalid_value"))
        if pattern and re.fullmatch(pattern, text) is None:
            raise RequestError(unsupported_value(param, f"{_named(model)} cannot stop at {text[:40]!r}."))


def _check_effort(request: ChatRequest, model: Model) -> None:
    effort = request.reasoning_effort
    able = model.capabilities
    if effort is None:
        return
    if effort not in able.efforts:
        if not able.efforts:
            raise RequestError(
                unsupported_parameter("reasoning_effort", _not_supported("reasoning_effort", model))
            )
        raise RequestError(
            unsupported_value("reasoning_effort", _value("reasoning_effort", effort, model, able.efforts))
        )
    if effort == "none" or not able.thinking_exclusive:
        return
    limit = max(request.max_tokens or 0, request.max_completion_tokens or 0)
    if 0 < limit <= able.thinking_min:
        message = f"{_named(model)} reasons in {able.thinking_min} tokens at least: raise the output limit above that."
        raise RequestError(unsupported_value("reasoning_effort", message))
    _check_thinking_alone(request, able, model)


def _check_thinking_alone(request: ChatRequest, able: Capabilities, model: Model) -> None:
    for name in ("temperature", "top_p", "top_k"):
        if getattr(request, name) not in (None, 1):
            raise RequestError(
                unsupported_parameter(name, f"{_named(model)} takes no '{name}' while it reasons.")
            )
    if request.tool_choice not in (None, "auto", "none") and request.tools:
        raise RequestError(
            unsupported_value("tool_choice", f"{_named(model)} cannot be forced to a tool while it reasons.")
        )
    kind = request.response_format.type if request.response_format is not None else "text"
    if kind == "json_object" or (kind == "json_schema" and able.json_by_tool):
        raise RequestError(
            unsupported_value("response_format", f"{_named(model)} cannot answer so while it reasons.")
        )
    if ends_with_assistant(request.messages):
        raise RequestError(
            unsupported_value("messages", f"{_named(model)} cannot continue an answer while it reasons.")
        )


def _named(model: Model) -> str:
    return f"The model `{model.id}` ({model.provider})"


def _not_supported(name: str, model: Model) -> str:
    return f"'{name}' is not supported by the model `{model.id}` ({model.provider})."


def _value(name: str, value: Any, model: Model, allowed: Iterable[str] = ()) -> str:
    listed = ", ".join(allowed)
    known = f" Supported values: {listed}." if listed else ""
    return f"'{name}' does not support {str(value)[:40]!r} with the model `{model.id}` ({model.provider}).{known}"


def _range(name: str, low: float, high: float) -> WireError:
    return invalid(f"'{name}' must be between {low} and {high}.", param=name, code="invalid_value")
