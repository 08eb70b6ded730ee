import json

import pytest
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from tests.fakes import bedrock as fake
from tests.fakes import conversation
from tests.workers.providers.bedrock.cases import CLAUDE, CLAUDE_3, NOVA, job, model
from workers.providers.bedrock.family import Bedrock
from workers.upstream.http import HttpUpstream

CALLS = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {
                    "toolUse": {
                        "toolUseId": f"tooluse_{k}",
                        "name": conversation.TOOL_NAME,
                        "input": json.loads(text),
                    }
                }
                for k, text in enumerate(conversation.ARGUMENTS)
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": fake.usage(conversation.CALLS_USAGE["prompt"], conversation.CALLS_USAGE["completion"]),
    "metrics": {"latencyMs": 9},
}
ANSWER = fake.answer(
    conversation.ANSWER,
    counted=fake.usage(conversation.ANSWER_USAGE["prompt"], conversation.ANSWER_USAGE["completion"]),
)


@pytest.mark.parametrize("upstream_id", [CLAUDE, CLAUDE_3, NOVA])
@pytest.mark.parametrize("piece_bytes", [0, 1])
async def test_the_shared_conversation_has_the_shared_outcome(upstream_id, piece_bytes):
    """System, image, two parallel calls, their results, a JSON answer, streamed over HTTP: as on every family."""
    row = model(upstream_id)
    client = HttpUpstream()
    with fake.Bedrock() as server:
        account = AccountSettings(
            id="a",
            region=fake.REGION,
            base_url=server.base_url,
            access_key_id=fake.ACCESS_KEY,
            secret_access_key=fake.SECRET_KEY,
        )

        async def play(body, answer):
            made = structs.replace(job(upstream_id), body=json.dumps(body).encode(), limit=500)
            assert refuse(row, CHAT, made.body) is None
            server.replies.append(fake.Reply(frames=fake.stream_of(answer), piece_bytes=piece_bytes))
            exchange = Bedrock().open(made, row, {})[0]
            response = await client.open(exchange.request(account))
            out = b""
            while data := await response.read():
                out += exchange.feed(data)
            out += exchange.close()
            response.close()
            assert exchange.finished, exchange.fault
            return [json.loads(event[6:]) for event in out.decode().split("\n\n") if event]

        beside_tools = row.capabilities.json_with_tools
        first, ids = conversation.outcome(await play(conversation.first_request("M"), CALLS))
        asked = conversation.second_request("M", ids, json_with_tools=beside_tools)
        second, _ = conversation.outcome(await play(asked, ANSWER))
        assert ids == ["tooluse_0", "tooluse_1"]
        sent = server.calls[1].body["messages"]
    await client.aclose()
    assert first == conversation.FIRST
    assert second == conversation.SECOND
    assert [block["toolResult"]["toolUseId"] for block in sent[2]["content"]] == ids
    assert sent[0]["content"][1]["image"]["format"] == "png"
