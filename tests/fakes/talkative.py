"""Owns upstreams that say as much as they are let: as many words as the limit they are sent, or as their model can.

A word is a token, in prompts as in answers. Each is as strict as the fake that it is made of.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.fakes import anthropic, bedrock, gemini, openai
from tests.fakes.stages import OpenAIStage

MOST = 5_000  # words of an answer whose request has no limit
_LEGACY = {"id": "cmpl-up1", "object": "text_completion", "created": openai.CREATED, "model": "up"}


def _said(count: int) -> str:
    return "w " * count


def words_of(value: Any) -> int:
    """The words in all texts of a JSON value."""
    if isinstance(value, str):
        return len(value.split())
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(words_of(one) for one in inner)


class Talkative:
    """The four of them. `limits` are those that they were sent, in order, None for none."""

    def __init__(self) -> None:
        self.limits: list[int | None] = []
        self.openai = _TalkativeOpenAI(self)
        self.anthropic = anthropic.FakeAnthropic()
        self.anthropic.respond = self._anthropic
        self.gemini = gemini.FakeGemini()
        self.gemini.respond = self._gemini
        self.bedrock = bedrock.Bedrock(self._bedrock)

    def granted(self, *limits: int | None) -> int:
        """Remembers a request's limits. How many words it gets: where it has several, the largest counts."""
        told = [limit for limit in limits if limit is not None]
        self.limits.append(max(told) if told else None)
        return min(max(told), MOST) if told else MOST

    def _anthropic(self, body: Any) -> anthropic.Script:
        count, prompt = self.granted(body["max_tokens"]), words_of(body["messages"])
        ending = anthropic.ending("max_tokens", output_tokens=count)
        opening = anthropic.opening(input_tokens=prompt)
        return anthropic.Script((opening, *anthropic.texts(_said(count)), *ending))

    def _gemini(self, body: Any) -> gemini.Script:
        config = body.get("generationConfig", {})
        count, prompt = self.granted(config.get("maxOutputTokens")), words_of(body["contents"])
        content = {"role": "model", "parts": [{"text": _said(count)}]}
        choices = config.get("candidateCount", 1)
        used = {"promptTokenCount": prompt, "candidatesTokenCount": choices * count}
        event = {
            "candidates": [
                {"content": content, "finishReason": "MAX_TOKENS", "index": index} for index in range(choices)
            ],
            "usageMetadata": used | {"totalTokenCount": prompt + choices * count},
        }
        return gemini.Script((event,))

    def _bedrock(self, call: bedrock.Call) -> bedrock.Reply:
        if call.verb.startswith("invoke"):
            return self._titan(call)
        count = self.granted(call.body.get("inferenceConfig", {}).get("maxTokens"))
        counted = bedrock.usage(words_of(call.body["messages"]), count)
        body = bedrock.answer(_said(count), stop="max_tokens", counted=counted)
        return (
            bedrock.Reply(frames=bedrock.stream_of(body))
            if call.verb.endswith("stream")
            else bedrock.Reply(body=body)
        )

    def _titan(self, call: bedrock.Call) -> bedrock.Reply:
        count = self.granted(call.body["textGenerationConfig"].get("maxTokenCount"))
        prompt = words_of(call.body["inputText"])
        if call.verb == "invoke":
            result = {"tokenCount": count, "outputText": _said(count), "completionReason": "LENGTH"}
            return bedrock.Reply(body={"inputTextTokenCount": prompt, "results": [result]})
        metrics = {"inputTokenCount": prompt, "outputTokenCount": count}
        last = {"completionReason": "LENGTH", "amazon-bedrock-invocationMetrics": metrics}
        return bedrock.Reply(frames=[bedrock.titan_chunk(_said(count), **last)])


class _TalkativeOpenAI(OpenAIStage):
    """OpenAI, and any server that speaks like it."""

    def __init__(self, told: Talkative) -> None:
        super().__init__()
        self._told = told

    def _answer(self, received: openai.Received) -> openai.Reply:
        body = received.json
        legacy = not received.path.endswith("/chat/completions")
        count = self._told.granted(body.get("max_tokens"), body.get("max_completion_tokens"))
        n = body.get("n") or 1
        prompts = body["prompt"] if legacy else ""
        each = len(prompts) if isinstance(prompts, list) else 1
        produced = each * max(n, body.get("best_of") or 1) * count
        used = openai.usage(words_of(prompts if legacy else body["messages"]), produced)
        choices = [_choice(index, _said(count), legacy=legacy) for index in range(n * each)]
        if not body.get("stream"):
            envelope = _LEGACY if legacy else json.loads(openai.plain("", used))
            return openai.Reply(
                pieces=[json.dumps(envelope | {"choices": choices, "usage": used}).encode()], length=True
            )
        envelope = _LEGACY if legacy else openai.chunk({})
        for choice in choices:
            if not legacy:
                choice["delta"] = choice.pop("message")
        events = [envelope | {"choices": [choice]} for choice in choices]
        events.append(envelope | {"choices": [], "usage": used})
        return openai.Reply(pieces=[*map(openai.event, events), openai.event("[DONE]")])


def _choice(index: int, text: str, *, legacy: bool) -> dict[str, Any]:
    said = {"text": text} if legacy else {"message": {"role": "assistant", "content": text}}
    return {"index": index, **said, "logprobs": None, "finish_reason": "length"}


@contextmanager
def talkative() -> Iterator[Talkative]:
    """All of them, started."""
    made = Talkative()
    with ExitStack() as stack:
        for fake in (made.openai, made.anthropic, made.gemini, made.bedrock):
            stack.enter_context(fake)
        yield made
