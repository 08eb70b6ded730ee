"""What goes to Gemini for a chat request: each row of the mapping, and histories that the real API would take."""

import base64
import json

import pytest

from schemas.chat.request import COMPLETIONS
from tests.fakes.gemini_rules import check
from tests.workers.providers.gemini.cases import ACCOUNT, NEW, OLD, exchange, job, model, sent
from workers.providers.base import RefusedError
from workers.providers.gemini.family import THOUGHT_IDS_MAX, Gemini
from workers.providers.gemini.request import LOST_SIGNATURE, OPENING_TEXT

PNG = base64.b64encode(b"\x89PNG").decode()
USER = {"role": "user", "content": "hi"}


def call(call_id, name="f", arguments="{}"):
    """An entry of tool_calls."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def contents(*messages, row=NEW, thoughts=None):
    """The contents that messages become, once the API's own rules have passed them."""
    body = sent({"messages": list(messages)}, row, thoughts)
    check(json.dumps(body).encode(), row.capabilities)
    return body["contents"]


def test_url_and_headers():
    """The key travels in its header, never in the URL; streams ask for SSE; an id is one segment of the path."""
    plain = exchange(job({})).request(ACCOUNT)
    assert plain.method == "POST"
    assert plain.url == "https://generativelanguage.googleapis.com/v1beta/models/gemini-x:generateContent"
    assert plain.headers["x-goog-api-key"] == ACCOUNT.api_key
    assert ACCOUNT.api_key not in plain.url
    odd = exchange(job({"stream": True}), model("a/b:c")).request(ACCOUNT)
    assert odd.url.endswith("/v1beta/models/a%2Fb%3Ac:streamGenerateContent?alt=sse")


def test_system_and_developer_become_one_instruction():
    """Instructions leave the conversation and are joined, wherever they stood; empty ones vanish."""
    body = sent(
        {
            "messages": [
                {"role": "system", "content": "a"},
                USER,
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": "b"}, {"type": "text", "text": ""}],
                },
            ]
        }
    )
    assert body["systemInstruction"] == {"parts": [{"text": "a\nb"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_instructions_alone_are_what_the_user_says():
    """A request of nothing but instructions still has a turn."""
    body = sent({"messages": [{"role": "system", "content": "a"}]})
    assert body == {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}


def test_neighbours_of_equal_role_are_merged():
    """Turns alternate; empty texts are dropped, their neighbours stay in order."""
    made = contents(
        USER,
        {"role": "user", "content": "there"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "b"},
    )
    assert [(one["role"], [part["text"] for part in one["parts"]]) for one in made] == [
        ("user", ["hi", "there"]),
        ("model", ["a"]),
        ("user", ["b"]),
    ]


def test_a_conversation_that_the_model_opens():
    """An assistant's greeting gets a user turn before it: the API wants one."""
    made = contents({"role": "assistant", "content": "Hello!"}, USER)
    assert made[0] == {"role": "user", "parts": [{"text": OPENING_TEXT}]}


def test_prefill_is_refused():
    """A last assistant message cannot be continued."""
    with pytest.raises(RefusedError) as refused:
        sent({"messages": [USER, {"role": "assistant", "content": "So"}]})
    assert (refused.value.error.status, refused.value.error.param) == (400, "messages")


def test_media_parts():
    """Images, audio and files travel inline with their media types; text and media keep their order."""
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}", "detail": "high"}},
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "x.pdf"}},
        {"type": "file", "file": {"file_data": PNG, "filename": "x.csv"}},
        {"type": "text", "text": "b"},
    ]
    (made,) = contents({"role": "user", "content": parts})
    kinds = [part.get("text") or part["inlineData"]["mimeType"] for part in made["parts"]]
    assert kinds == ["a", "image/jpeg", "audio/mp3", "application/pdf", "text/csv", "b"]
    assert all(part["inlineData"]["data"] == PNG for part in made["parts"] if "inlineData" in part)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,***"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
def test_media_that_cannot_be_sent_is_refused(part):
    """A link, a file kept elsewhere and broken base64 are the caller's 400."""
    with pytest.raises(RefusedError) as refused:
        sent({"messages": [{"role": "user", "content": [part]}]})
    assert refused.value.error.status == 400
    assert refused.value.error.param.startswith("messages[0].content[0].")


def test_c21_c22_parallel_results_are_one_turn_with_their_own_ids():
    """Results of one turn share a content, each with its own id and the name looked up from its call."""
    made = contents(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2", "g", '{"a":1}')]},
        {"role": "tool", "tool_call_id": "c2", "content": '{"ok":true}'},
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "text", "text": "12"}, {"type": "text", "text": "°C"}],
        },
        {"role": "user", "content": "And?"},
    )
    assert [one["role"] for one in made] == ["user", "model", "user"]
    assert [part["functionCall"] for part in made[1]["parts"]] == [
        {"id": "c1", "name": "f", "args": {}},
        {"id": "c2", "name": "g", "args": {"a": 1}},
    ]
    assert made[2]["parts"] == [
        {"functionResponse": {"id": "c2", "name": "g", "response": {"ok": True}}},
        {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "12°C"}}},
        {"text": "And?"},
    ]


def test_c20_tool_history_without_tools():
    """A history with calls goes as it is though the request declares no tools: none is made up."""
    body = sent(
        {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": [call("c1")]},
                {"role": "tool", "tool_call_id": "c1", "content": "x"},
            ]
        }
    )
    check(json.dumps(body).encode(), NEW.capabilities)
    assert "tools" not in body
    assert "toolConfig" not in body


def test_c23_empty_text_beside_a_call_is_dropped():
    """An empty text next to a tool call is no part."""
    made = contents(
        USER,
        {"role": "assistant", "content": [{"type": "text", "text": ""}], "tool_calls": [call("c1")]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    )
    assert [list(part) for part in made[1]["parts"]] == [["functionCall", "thoughtSignature"]]


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("", {"output": ""}),
        ("[1]", {"output": "[1]"}),
        ("{broken", {"output": "{broken"}),
        ('{"a":{"$ref":"#/x","b":[{"$defs":{},"c":1}]}}', {"a": {"b": [{"c": 1}]}}),
        ('{"$ref":"x"}', {}),
    ],
)
def test_results_are_objects_without_references(text, response):
    """A result is an object: JSON objects as they are, less what the API would resolve; anything else as output."""
    made = contents(
        USER,
        {"role": "assistant", "tool_calls": [call("c1")]},
        {"role": "tool", "tool_call_id": "c1", "content": text},
    )
    assert made[2]["parts"][0]["functionResponse"]["response"] == response


def test_old_function_messages():
    """The deprecated function_call and function role still make a call and its result."""
    made = contents(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "ok"},
    )
    assert made[1]["parts"][0]["functionCall"] == {"name": "f", "args": {"a": 1}}
    assert made[2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "ok"}}}]


def test_a_history_that_makes_no_sense_is_refused():
    """A result without its call is the caller's 400."""
    with pytest.raises(RefusedError) as refused:
        sent({"messages": [USER, {"role": "tool", "tool_call_id": "c9", "content": "x"}]})
    assert refused.value.error.status == 400


def test_arguments_that_are_no_object():
    """They stand in one, as they are: a model's slip must not stop the session that remembers it."""
    made = contents(
        USER,
        {"role": "assistant", "tool_calls": [call("c1", "f", "[1]")]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    )
    assert made[1]["parts"][0]["functionCall"]["args"] == {"arguments": "[1]"}


def test_c46_signatures_go_back_where_they_came_from():
    """Known signatures return on their calls; a lost one in the running turn becomes the documented sentinel."""
    first = {"role": "assistant", "tool_calls": [call("c1"), call("c2")]}
    second = {"role": "assistant", "tool_calls": [call("c3")]}
    results = [{"role": "tool", "tool_call_id": name, "content": "x"} for name in ("c1", "c2", "c3")]
    history = (USER, first, *results[:2], second, results[2])
    made = contents(*history, thoughts={"c1": "QQ=="})
    signatures = [
        part.get("thoughtSignature") for one in made if one["role"] == "model" for part in one["parts"]
    ]
    assert signatures == ["QQ==", None, LOST_SIGNATURE]
    assert base64.b64decode(LOST_SIGNATURE) == b"skip_thought_signature_validator"
    # Steps of an earlier turn are not checked, and models that ask for no signatures get none made up.
    later = contents(*history, USER)
    assert "thoughtSignature" not in json.dumps(later)
    assert "thoughtSignature" not in json.dumps(contents(*history, row=OLD))


def test_thought_ids_are_the_calls_of_the_history():
    """The worker is asked for the newest calls' signatures, and for none where there are no calls."""
    family = Gemini()
    messages = [
        USER,
        *({"role": "assistant", "tool_calls": [call(f"c{k}")]} for k in range(THOUGHT_IDS_MAX + 5)),
    ]
    assert family.thought_ids(job({"messages": messages})) == [f"c{k}" for k in range(5, THOUGHT_IDS_MAX + 5)]
    assert family.thought_ids(job({})) == []
    assert family.thought_ids(job({}, dialect=COMPLETIONS, body=b'{"prompt":"\\"tool_calls\\""}')) == []


def test_legacy_completions_are_one_call_a_prompt():
    """Each prompt is one user turn and one call with the limit granted; the answers are joined into one body."""
    raw = json.dumps({"model": "M", "prompt": ["a", "b"], "n": 2, "echo": True}).encode()
    made = Gemini().open(job({}, dialect=COMPLETIONS, body=raw, choices=4, limit=16), OLD, {})
    bodies = [json.loads(one.request(ACCOUNT).body) for one in made]
    assert [body["contents"] for body in bodies] == [
        [{"role": "user", "parts": [{"text": text}]}] for text in "ab"
    ]
    assert all(body["generationConfig"] == {"candidateCount": 2, "maxOutputTokens": 16} for body in bodies)
    out = b""
    for k, one in enumerate(made):
        candidates = [
            {"content": {"parts": [{"text": f"{k}{c}"}]}, "finishReason": "STOP", "index": c} for c in (0, 1)
        ]
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
        out = one.answer(json.dumps({"candidates": candidates, "usageMetadata": usage}).encode())
    body = json.loads(out)
    assert [(one["index"], one["text"]) for one in body["choices"]] == [
        (0, "a00"),
        (1, "a01"),
        (2, "b10"),
        (3, "b11"),
    ]
    assert body["object"] == "text_completion"
    assert body["usage"]["total_tokens"] == 6
