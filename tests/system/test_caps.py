"""Spend caps over the whole path: commands make them, a caller's SDK is told once, and a higher cap lets calls through again."""

import json

import httpx
import openai
import pytest

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def capped(tokn):
    """A key with two caps of its own, made in one command."""
    return tokn.row(
        "key", "create", "--name", "capped", "--balance", "5", "--cap", "day=0.0001", "--cap", "month=3@Europe/Berlin"
    )  # fmt: skip


def test_an_sdk_is_told_once(tokn, upstream, capped):
    """OpenAI's SDK raises the 402 at the first answer, with the cap, its figures and its reset; the upstream hears nothing."""
    day = next(row for row in tokn.rows("cap", "list", "--key", capped["id"]) if row["period"] == "day")
    asked = len(upstream.calls)
    with openai.OpenAI(base_url=f"{tokn.url}/v1", api_key=capped["key"], max_retries=5) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="priced", messages=SAY, max_tokens=1000)
        error, headers = refused.value, refused.value.response.headers
        assert (error.status_code, error.code, error.type) == (402, "spend_cap_reached", "billing_error")
        assert "the daily cap of this key is 0.0001 USD (UTC)" in error.message
        assert (headers["x-tokn-cap"], headers["x-should-retry"]) == (day["id"], "false")
        assert headers["x-tokn-cap-resets"] == str(day["current"]["ends_at"])
        assert len(upstream.calls) == asked
        tokn.row("cap", "update", day["id"], "0.05")
        done = client.chat.completions.create(model="priced", messages=SAY, max_tokens=1000)
    assert done.choices
    left = tokn.settled(capped["id"])
    spent_nano = 5_000_000_000 - left["posted_nano"]
    assert spent_nano > 0
    for row in tokn.rows("cap", "list", "--key", capped["id"]):
        assert (row["current"]["spent_nano"], row["current"]["held_nano"]) == (spent_nano, 0)
    assert tokn.audit()["ok"] is True


def test_the_life_of_a_cap(tokn, capped):
    """Made, listed for people in 80 columns, changed and ended, of a key and of an organisation."""
    day = next(row for row in tokn.rows("cap", "list", "--key", capped["id"]) if row["period"] == "day")
    tokn.row("cap", "update", day["id"], "0.05")
    with openai.OpenAI(base_url=f"{tokn.url}/v1", api_key=capped["key"]) as client:
        client.chat.completions.create(model="priced", messages=SAY, max_tokens=1000)
    tokn.settled(capped["id"])
    made = tokn.row(
        "cap", "create", "7.50", "--period", "week", "--organization", "default", "--zone", "Asia/Tokyo"
    )
    assert made["scope"] == {"organization": "default"}
    assert (made["timezone"], made["limit_nano"], made["alert_percent"]) == ("Asia/Tokyo", 7_500_000_000, 80)
    listed = tokn.run("cap", "list").stdout
    assert max(map(len, listed.splitlines())) <= 80
    for words in (
        made["id"],
        f"key {capped['id']}",
        "organization default",
        "by week, Asia/Tokyo",
        "limit 7.50",
    ):
        assert words in listed
    raised = tokn.row("cap", "update", made["id"], "8", "--alert", "90")
    assert (raised["limit_nano"], raised["alert_percent"], raised["version"]) == (8_000_000_000, 90, 2)
    assert "8.00" in tokn.run("cap", "update", made["id"], "--alert", "95").stdout
    tokn.row("cap", "update", made["id"], "0.00000001")
    own = httpx.get(f"{tokn.url}/v1/key", headers={"authorization": f"Bearer {capped['key']}"}, timeout=30)
    data = own.json()["data"]
    assert (data["limit"], data["limit_reset"]) == (0.05, "daily")  # its own, and not its organisation's
    assert 0 < data["limit_remaining"] < 0.05
    assert tokn.row("cap", "end", made["id"])["ended_at"]
    assert made["id"] not in json.dumps(tokn.rows("cap", "list"))


BAD = [
    (("cap", "create", "--period", "day", "--key", "KEY", "--", "-1"), "negative"),
    (("cap", "create", "1.0000000001", "--period", "day", "--key", "KEY"), "decimals"),
    (("cap", "create", "1", "--period", "year", "--key", "KEY"), "period"),
    (("cap", "create", "1", "--period", "week", "--key", "KEY", "--zone", "Mars/Base"), "time zone"),
    (("cap", "create", "1", "--period", "day", "--key", "KEY"), "cap_exists"),
    (("cap", "create", "1", "--period", "day"), "either a key or an organisation"),
    (("cap", "create", "1", "--period", "day", "--key", "key_nobody"), "no key key_nobody"),
    (("cap", "update", "cap_nobody", "5"), "no cap cap_nobody"),
    (("cap", "end", "cap_nobody"), "no cap cap_nobody"),
    (("key", "create", "--cap", "day"), "day=5"),
    (("key", "create", "--cap", "day=5@Nowhere"), "time zone"),
]


def test_bad_input_changes_nothing(tokn, capped):
    """What cannot be is refused in one sentence, with nothing changed."""
    before = tokn.rows("cap", "list"), len(tokn.rows("key", "list"))
    for words, said in BAD:
        ended = tokn.run(*(capped["id"] if word == "KEY" else word for word in words))
        assert ended.returncode in {1, 2}, words
        assert said in ended.stderr
    assert (tokn.rows("cap", "list"), len(tokn.rows("key", "list"))) == before
