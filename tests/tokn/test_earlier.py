"""A start on what an earlier version has left: its data folder, its roles, and the bills that nobody has read yet."""

import json

import httpx
import pytest

from runtime.bus.identity import ACCOUNT
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system


def call(tokn: Tokn, key: str) -> int:
    """The status of one plain call."""
    answer = httpx.post(
        f"{tokn.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "a"}]},
        timeout=60,
    )
    return answer.status_code


def as_v0_2(data) -> None:
    """Makes of a folder what version 0.2.0 would have made: users without an account, and one role less than now."""
    store = data / "nats" / "jetstream"
    (store / ACCOUNT).rename(store / "$G")
    path = data / "secrets.json"
    kept = json.loads(path.read_text())
    del kept["passwords"]["usage"]
    path.write_text(json.dumps(kept))
    (data / "nats.conf").write_text('authorization { users = [ { user: "edge", password: "old" } ] }\n')


def test_a_data_folder_of_an_earlier_version_starts(tmp_path):
    """Key, balance, books and stream are those that were there; the role that came later has a password; calls are served."""
    data = tmp_path / "data"
    with Tokn(data) as tokn:
        key = tokn.key
        assert call(tokn, key) == 200
        before = tokn.settled(tokn.key_id())
        tokn.stop()
        as_v0_2(data)
        tokn.start()
        assert call(tokn, key) == 200
        after = tokn.settled(tokn.key_id())
        audit = tokn.audit()
    assert after["posted_nano"] < before["posted_nano"]
    assert audit["ok"] is True
    assert audit["streams_lost"] == 0
    assert audit["calls"] == 2
    assert [path.name for path in (data / "nats" / "jetstream").iterdir()] == [ACCOUNT]
    assert "usage" in json.loads((data / "secrets.json").read_text())["passwords"]
