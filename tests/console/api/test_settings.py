"""The configuration over HTTP: shown without a secret, checked, and taken or refused as a whole, with its word to everybody."""

from typing import Any

from runtime.settings.settings import SettingsError
from schemas.admin.credentials import ManagementKey, digest
from schemas.admin.reads import SETTINGS_RELOADED
from schemas.admin.settings import SettingsReload, SettingsReloaded
from schemas.admin.verbs import CONSOLE_READ, CONSOLE_WRITE, ConsoleWrite
from schemas.bus.subjects import Role, new_id
from schemas.verbs.base import Rows, encode
from schemas.verbs.webhooks import EVENTS, EventsQuery
from tests.console.api.rig import Rig
from tests.ledger.deployment import until

WRONG = "tokn.toml: [edge] full_wait_s: must be a number"


async def _told(rig: Rig, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Events of a type, once there are so many: oldest first."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        rows: Rows = await rig.deployment.ask(Role.COMMAND, EVENTS, EventsQuery(type=kind), Rows)
        found[:] = [row["data"]["object"] for row in reversed(rows.rows)]
        return len(found) >= count

    await until(there, f"{count} of {kind}")
    assert len(found) == count
    return found


async def _entries(rig: Rig, owner: str, action: str) -> list[dict[str, Any]]:
    return list((await rig.done("GET", f"/audit_entries?action={action}", key=owner))["data"])


async def test_what_is_shown(rig: Rig) -> None:
    """Every value by its place, what needs a restart for a change, and of secrets only that they are set."""
    owner = await rig.key()
    answer = await rig.ask("GET", "/settings", key=owner)
    shown = answer.json()
    values = {one["place"]: one for one in shown["values"]}
    assert (shown["ok"], shown["together"], shown["watched"]) == (True, False, False)
    assert values["[ledger] pepper"] == {
        "place": "[ledger] pepper",
        "value": None,
        "is_set": True,
        "restart": [],
    }
    assert (values["[ledger] database_url"]["value"], values["[ledger] database_url"]["is_set"]) == (
        None,
        True,
    )
    assert (values["[edge] port"]["value"], values["[edge] port"]["restart"]) == ("8000", ["edge"])
    assert values["[edge] full_wait_s"]["value"] == "2.0"
    assert rig.deployment.source.url not in answer.text


async def test_a_reload_is_taken_and_told(rig: Rig) -> None:
    """A check says what would change and changes nothing; the reload does, once, with an entry of who asked and an event."""
    owner = await rig.key()
    rig.deployment.file = {"full_wait_s": 7.0, "port": 9}
    check = await rig.done("GET", "/settings/check", key=owner)
    assert (check["ok"], check["problem"]) == (True, None)
    assert [(one["place"], one["restart"]) for one in check["changes"]] == [
        ("[edge] port", ["edge"]),
        ("[edge] full_wait_s", []),
    ]
    before = (await rig.done("GET", "/settings", key=owner))["values"]
    assert {"place": "[edge] full_wait_s", "value": "2.0", "is_set": None, "restart": []} in before
    made = await rig.done("POST", "/settings/reload", key=owner, idempotency_key="once", user_agent="tests")
    assert made["changes"] == check["changes"]
    again = await rig.ask("POST", "/settings/reload", key=owner, idempotency_key="once")
    assert (again.json(), again.headers["idempotent-replayed"]) == (made, "true")
    values = (await rig.done("GET", "/settings", key=owner))["values"]
    assert {"place": "[edge] full_wait_s", "value": "7.0", "is_set": None, "restart": []} in values
    assert {"place": "[edge] port", "value": "8000", "is_set": None, "restart": ["edge"]} in values, (
        "until a restart"
    )
    (told,) = await _told(rig, "config.reloaded")
    assert (told["generation"], told["changes"]) == (made["generation"], made["changes"])
    (asked,) = await _entries(rig, owner, "settings_reload")
    assert (asked["actor"]["type"], asked["user_agent"], asked["target"]) == (
        "management_key",
        "tests",
        made["id"],
    )
    (entry,) = await _entries(rig, owner, "config_reloaded")
    assert (entry["actor"]["type"], entry["after"]["configuration"]["changes"]) == ("system", made["changes"])
    assert (await rig.deployment.audit())["ok"]


async def test_a_refused_file_changes_nothing(rig: Rig) -> None:
    """The answer is the sentence that names file, table and key; it is told once for as long as it stays the same."""
    owner = await rig.key()
    rig.deployment.file = SettingsError(WRONG)
    check = await rig.done("GET", "/settings/check", key=owner)
    assert (check["ok"], check["problem"], check["changes"]) == (False, WRONG, [])
    for _ in range(2):
        answer = await rig.ask("POST", "/settings/reload", key=owner)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "config_rejected")
        assert error["message"] == f"Not reloaded, nothing has changed: {WRONG}."
    rig.deployment.file = {"full_wait_s": 8.0}
    await rig.done("POST", "/settings/reload", key=owner)
    rig.deployment.file = SettingsError(WRONG)
    assert (await rig.ask("POST", "/settings/reload", key=owner)).status_code == 400
    told = await _told(rig, "config.rejected", 2)
    assert {one["problem"] for one in told} == {WRONG}
    await _told(rig, "config.reloaded")
    assert len(await _entries(rig, owner, "config_rejected")) == 2
    assert len(await _entries(rig, owner, "settings_reload")) == 4, "who asked is known each time"


async def test_nobody_reloads_by_anothers_right(rig: Rig) -> None:
    """Who may only read checks, and has nothing reloaded; the right is looked at by the ledger in the act's transaction."""
    owner, reader = await rig.key(), await rig.key("settings:read")
    rig.deployment.file = {"full_wait_s": 9.0}
    assert (await rig.done("GET", "/settings/check", key=reader))["changes"]
    refused = await rig.ask("POST", "/settings/reload", key=reader)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    values = (await rig.done("GET", "/settings", key=owner))["values"]
    assert {"place": "[edge] full_wait_s", "value": "2.0", "is_set": None, "restart": []} in values


async def test_an_acts_reload_is_its_own(rig: Rig) -> None:
    """What an act has allowed is made for who did it alone, and not long after."""
    mine, others = await rig.key("settings:write"), await rig.key("settings:write")
    rig.deployment.file = {"full_wait_s": 9.0}

    async def allowed() -> str:
        proof, form = ManagementKey(digest(mine)), encode(SettingsReload())
        asked = ConsoleWrite(1, "settings_reload", form, proof, new_id("idem_"))
        rows: Rows = await rig.deployment.ask(Role.CONSOLE, CONSOLE_WRITE, asked, Rows)
        return str(rows.rows[0]["id"])

    async def made(id_: str, key: str) -> Rows:
        asked = SETTINGS_RELOADED.ask(SettingsReloaded(1, id_), ManagementKey(digest(key)))
        rows: Rows = await rig.deployment.ask(Role.CONSOLE, CONSOLE_READ, asked, Rows)
        return rows

    async def values() -> Any:
        return (await rig.done("GET", "/settings", key=mine))["values"]

    before = await values()
    late = await allowed()
    rig.deployment.clock.turn(301)
    assert "long ago" in (await made(late, mine)).problem
    id_ = await allowed()
    assert (await made(id_, others)).missing
    assert (await made("rld_none", mine)).missing
    assert await values() == before
    assert (await made(id_, mine)).rows[0]["changes"]
    assert await values() != before
