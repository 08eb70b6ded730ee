"""Owns a strict upstream that speaks the Responses dialect: the stage of a provider that says the usual answers in it."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from tests.fakes import openai
from tests.fakes.dialects import Answer
from tests.fakes.families import PROVIDERS, config, model_toml, pool_toml, stages
from tests.fakes.stages import PACE_S, OpenAIStage

NATIVE = "native"  # the pool and the model of such a provider
WAYS = (*PROVIDERS, NATIVE)
LOOK = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
}
PLAIN = {"status": "completed", "error": None, "incomplete_details": None, "store": False}
PRIVATE = ("client_metadata", "models", "n", "previous_response_id", "usage")


def usage(answer: Answer) -> dict[str, Any]:
    """A usage object in which the parts are inside the sums."""
    used = answer.usage
    return {
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write},
        "output_tokens": used.completion,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.prompt + used.completion,
    }


def items(answer: Answer) -> list[dict[str, Any]]:
    """The output: a message, and calls."""
    made: list[dict[str, Any]] = []
    if answer.pieces:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        made.append(
            {"id": "msg_up", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        )
    for index, (call_id, name, _) in enumerate(answer.calls):
        made.append(
            {
                "id": f"fc_up{index}",
                "type": "function_call",
                "status": "completed",
                "call_id": call_id,
                "name": name,
                "arguments": answer.arguments[index],
            }
        )
    return made


def response(answer: Answer | None = None, **more: Any) -> dict[str, Any]:
    """The response object."""
    made: dict[str, Any] = {
        "id": "resp_up",
        "object": "response",
        "created_at": openai.CREATED,
        "model": "up",
    }
    made |= {
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 1.0,
    }
    made |= {"tool_choice": "auto", "tools": [], "service_tier": "default", **PLAIN}
    made |= {"output": [] if answer is None else items(answer), "usage": usage(answer) if answer else None}
    return made | more


def events(answer: Answer) -> list[bytes]:
    """A stream: its head, each item with its deltas, the last event."""
    made: list[dict[str, Any]] = [
        {"type": f"response.{name}", "response": response(status="in_progress")}
        for name in ("created", "in_progress")
    ]
    for index, item in enumerate(items(answer)):
        at = {"output_index": index}
        of = {"item_id": item["id"], **at}
        if item["type"] == "message":
            (part,) = item["content"]
            of |= {"content_index": 0}
            made.append({"type": "response.output_item.added", **at, "item": item | {"content": []}})
            made.append({"type": "response.content_part.added", **of, "part": part | {"text": ""}})
            made += [
                {"type": "response.output_text.delta", **of, "delta": piece, "logprobs": []}
                for piece in answer.pieces
            ]
            made.append({"type": "response.output_text.done", **of, "text": answer.text, "logprobs": []})
            made.append({"type": "response.content_part.done", **of, "part": part})
        else:
            text, name = item["arguments"], "response.function_call_arguments"
            made.append({"type": "response.output_item.added", **at, "item": item | {"arguments": ""}})
            made.append({"type": f"{name}.delta", **of, "delta": text})
            made.append({"type": f"{name}.done", **of, "name": item["name"], "arguments": text})
        made.append({"type": "response.output_item.done", **at, "item": item})
    made.append({"type": "response.completed", "response": response(answer)})
    return [event(number, fields) for number, fields in enumerate(made)]


def event(number: int, fields: dict[str, Any]) -> bytes:
    """One event, with its name and number."""
    data = json.dumps({"type": fields["type"], "sequence_number": number} | fields, ensure_ascii=False)
    return f"event: {fields['type']}\ndata: {data}\n\n".encode()


def refusal(body: dict[str, Any]) -> openai.Reply | None:
    """What OpenAI would say to a body that should never go up."""
    wrong = [name for name in PRIVATE if name in body] + [name for name in body if body[name] is None]
    if wrong or body.get("store") is not False:
        return openai.error(400, f"Unknown parameter: {wrong or 'store'}", code="unknown_parameter")
    if body.get("max_output_tokens", 16) < 16:
        return openai.error(400, "integer_below_min_value", param="max_output_tokens")
    for item in body["input"] if isinstance(body["input"], list) else ():
        if item.get("type") == "function_call" and not item.get("id", "fc").startswith("fc"):
            return openai.error(400, "Expected an ID that begins with 'fc'.", param="input")
        if item.get("type") == "reasoning" and not item.get("encrypted_content", "").startswith("gAAAA"):
            return openai.error(
                400, "The encrypted content could not be verified.", code="invalid_encrypted_content"
            )
    return None


class ResponsesStage(OpenAIStage):
    """OpenAI, asked for responses alone."""

    provider: ClassVar[str] = NATIVE
    events: ClassVar[Callable[[Answer], list[Any]]] = staticmethod(events)
    broken: ClassVar[Any] = event(
        9,
        {
            "type": "response.failed",
            "response": response(status="failed", error={"code": "server_error", "message": "busy"}),
        },
    )

    def _answer(self, received: openai.Received) -> openai.Reply:
        body = received.json
        if received.path != "/v1/responses":
            return openai.error(404, "This model is only supported in v1/responses.")
        self.bodies.append(body)
        if (refused := refusal(body)) is not None:
            return refused
        assert self._queue, "a call that nobody expected"
        return self._queue.pop(0)(received)

    def play(
        self, answer: Answer, *, end: int | None = None, cut: int | None = None, broken: int | None = None
    ) -> None:
        """Queues an answer."""

        def reply(received: openai.Received) -> openai.Reply:
            if not received.json.get("stream"):
                return openai.Reply(pieces=[json.dumps(response(answer)).encode()], length=True)
            said = events(answer)
            if broken is not None:
                said = [*said[:broken], self.broken]
            pieces: list[openai.Piece] = []
            for one in said[: cut if cut is not None else end]:
                pieces += [one] if cut is None else [one, PACE_S]
            return openai.Reply(pieces=pieces, cut=cut is not None)

        self._queue.append(reply)


def native_toml(stage: ResponsesStage) -> str:
    """Its pool and its model in tokn.toml."""
    pool = pool_toml(NATIVE, "openai", [stage.account]).replace("rate", "responses = true\nrate", 1)
    return pool + model_toml(NATIVE, NATIVE, "gpt-x")


@contextlib.contextmanager
def every_stage() -> Iterator[dict[str, list[Any]]]:
    """One fake of each provider, and one that speaks the dialect itself, by WAYS."""
    with stages() as made, ResponsesStage() as native:
        yield made | {NATIVE: [native]}


def every_toml(played: dict[str, list[Any]]) -> str:
    """The pools and models of all of them in tokn.toml."""
    return config(played) + native_toml(played[NATIVE][0])
