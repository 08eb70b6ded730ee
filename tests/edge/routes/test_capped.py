"""Spend caps on the wire: a 402 that says whose cap it is, its figures, what would fit and until when, in each dialect."""

import openai
import pytest

from edge.admission.capped import CAP_HEADER, RESETS_HEADER
from schemas.verbs.calls import AUTHORISE, CapFigures, Reason, Refusal
from tests.edge.conftest import Rig

USD = 1_000_000_000
RESETS_S = 1_795_046_400  # 2026-11-19T00:00:00Z


def refusal(
    scope: str = "key", period: str = "day", zone: str = "UTC", resets_s: int = RESETS_S, fits: int = 212
) -> Refusal:
    """A call that does not fit into a cap of 5 USD, of which 4.20 are spent and 0.75 held."""
    cap = CapFigures("cap_1", scope, period, zone, 5 * USD, 42 * USD // 10, 75 * USD // 100, resets_s)
    return Refusal(Reason.CAPPED, 90 * USD, 0, 31 * USD // 100, fits, cap=cap)


async def test_a_key_is_told_its_cap(rig: Rig) -> None:
    """The message has every figure, the headers say which cap and when it resets, and nobody is to try again."""
    rig.ledger.refusal = refusal()
    answer = await rig.chat(max_tokens=4000)
    assert answer.status_code == 402
    assert answer.json()["error"] == {
        "message": "Spend cap reached: the daily cap of this key is 5.00 USD (UTC); 4.20 USD is spent and 0.75 USD held "
        "by calls in flight; this call requires up to 0.31 USD. With a limit of 212 output tokens it would fit: set "
        "max_tokens to at most that. It resets at 2026-11-19T00:00:00Z.",
        "type": "billing_error",
        "param": None,
        "code": "spend_cap_reached",
    }
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers[CAP_HEADER.decode()] == "cap_1"
    assert answer.headers[RESETS_HEADER.decode()] == str(RESETS_S)
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
async def test_an_organisation_keeps_its_figures(rig: Rig, period: str) -> None:
    """Its keys learn that its cap is reached, by when it resets, and nothing of what was spent."""
    kind = {"daily": "day", "weekly": "week", "monthly": "month"}[period]
    rig.ledger.refusal = refusal("org", kind, "Europe/Berlin")
    error = (await rig.chat(max_tokens=4000)).json()["error"]
    assert f"the organisation's {period} cap (Europe/Berlin)" in error["message"]
    assert "0.31 USD" in error["message"]
    assert "2026-11-19T00:00:00Z" in error["message"]
    assert not any(figure in error["message"] for figure in ("5.00", "4.20", "0.75"))


async def test_a_cap_of_all_time_names_no_end(rig: Rig) -> None:
    """It does not reset, and nothing would fit: neither is promised."""
    rig.ledger.refusal = refusal(period="total", resets_s=0, fits=0)
    answer = await rig.chat()
    message = answer.json()["error"]["message"]
    assert "total cap" in message
    assert "does not reset" in message
    assert "would fit" not in message
    assert RESETS_HEADER.decode() not in answer.headers


async def test_each_dialect_has_its_envelope(rig: Rig) -> None:
    """OpenAI's and Anthropic's SDKs raise it as a 402 after one request, by chat, responses and messages, streamed or not."""
    import anthropic  # noqa: PLC0415  three seconds for each process that collects the tests, used or not

    rig.ledger.refusal = refusal()
    client = openai.AsyncOpenAI(base_url=f"{rig.url}/v1", api_key=rig.ledger.key, max_retries=5)
    claude = anthropic.AsyncAnthropic(base_url=rig.url, api_key=rig.ledger.key, max_retries=5)
    messages: list = [{"role": "user", "content": "hi"}]
    calls = [
        lambda: client.chat.completions.create(model="tokn-sandbox", messages=messages, max_tokens=10),
        lambda: client.chat.completions.create(model="tokn-sandbox", messages=messages, stream=True),
        lambda: client.responses.create(model="tokn-sandbox", input="hi"),
        lambda: claude.messages.create(model="tokn-sandbox", messages=messages, max_tokens=10),
    ]
    for number, call in enumerate(calls, 1):
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as refused:
            await call()
        assert refused.value.status_code == 402
        assert "Spend cap reached" in str(refused.value)
        assert refused.value.response.headers[CAP_HEADER.decode()] == "cap_1"
        assert len(rig.ledger.of(AUTHORISE)) == number
    await client.close()
    await claude.close()
