"""Whose receipts were read, and by whom, is in the audit log: of other organisations than the reader's own."""

from tests.console.api.rig import Rig, populated
from tests.ledger.deployment import until


async def test_reads_of_others_receipts_are_entered(rig: Rig) -> None:
    """A receipt, or a page of them, has an entry with the reader, address and calls; lists without, and one's own, have none."""
    owner = await rig.key()
    acme, beta = await populated(rig, "acme", owner), await populated(rig, "beta", owner)

    async def billed() -> bool:
        return len((await rig.done("GET", "/calls", key=owner))["data"]) == 2

    await until(billed, "both calls are billed")
    of_acme = await rig.key("usage:read", organization="acme")
    await rig.done("GET", f"/calls/{acme.call}?expand[]=organization", key=of_acme)
    await rig.done("GET", "/calls?expand[]=receipt", key=of_acme)
    await rig.done("GET", "/calls?expand[]=refunds", key=owner)
    assert (await rig.ask("GET", "/calls/req_none", key=owner)).status_code == 404
    path = "/audit_entries?action=receipt_read"
    assert (await rig.done("GET", path, key=owner))["data"] == []
    answer = await rig.ask(
        "GET", f"/calls/{acme.call}?expand[]=organization", key=owner, user_agent="a reader"
    )
    assert answer.status_code == 200
    await rig.done("GET", "/calls?expand[]=receipt", key=owner)
    many, one = (await rig.done("GET", path, key=owner))["data"]
    assert (one["target"], one["after"]) == (acme.call, {f"calls/{acme.call}": {"organization": "acme"}})
    assert (one["ip"], one["user_agent"]) == ("127.0.0.1", "a reader")
    assert (one["actor"]["type"], one["request_id"]) == ("management_key", answer.headers["x-request-id"])
    assert many["target"] == "calls"
    assert many["after"] == {
        f"calls/{acme.call}": {"organization": "acme"},
        f"calls/{beta.call}": {"organization": "beta"},
    }
    assert (await rig.deployment.audit())["ok"]
