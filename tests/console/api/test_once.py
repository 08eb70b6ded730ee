"""One request that is sent many times at once, while ledgers die, is done once and has one answer."""

import asyncio
from typing import Any

import pytest

from tests.console.api.rig import Rig, World, populated, serving
from tests.ledger.deployment import Deployment, until

CLIENTS = 20
USD = 1_000_000_000


async def _kill(deployment: Deployment) -> None:
    """Ends the first ledger in the middle of whatever it does."""
    _, task = deployment.running.pop(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _at_once(rig: Rig, method: str, path: str, body: Any, key: str) -> list[Any]:
    """Twenty clients with one idempotency key; the ledger that they ask dies meanwhile, and another comes."""
    sent = [
        asyncio.ensure_future(rig.ask(method, path, body, key=key, idempotency_key=f"{method}{path}"))
        for _ in range(CLIENTS)
    ]
    await _kill(rig.deployment)
    await rig.deployment.start()
    return list(await asyncio.gather(*sent))


@pytest.mark.parametrize("kind", ["credit", "key", "refund", "statement"])
async def test_twenty_clients_and_a_ledger_that_dies(deployment: Deployment, kind: str) -> None:
    """A credit, a key, a refund and a statement: one effect, one answer, of which one client has the secret; the books balance."""
    await deployment.start()
    async with serving(deployment, patience_s=60.0) as rig:
        owner = await rig.key()
        acme = await populated(rig, "acme", owner)

        async def billed() -> bool:
            return (await rig.done("GET", f"/calls/{acme.call}", key=owner))["outcome"] == "ok"

        await until(billed, "the call is billed")
        body, path = {
            "credit": ({"key": acme.k2, "kind": "deposit", "amount_usd": "1"}, "/credits"),
            "key": ({"organization": "acme", "opening_usd": "1"}, "/keys"),
            "refund": ({"reason": "r", "amount_nano": 1}, f"/calls/{acme.call}/refunds"),
            "statement": (None, f"/statements/{acme.statement}/issue"),
        }[kind]
        answers = await _at_once(rig, "POST", path, body, owner)
        assert {one.status_code for one in answers} == {200 if kind == "statement" else 201}
        told = [one.json() for one in answers]
        secrets = [one.pop("key") for one in told] if kind == "key" else []
        assert all(one == told[0] for one in told)
        assert len([one for one in secrets if one]) == (1 if kind == "key" else 0)
        assert sum("idempotent-replayed" not in one.headers for one in answers) == 1
        await _effect(rig, owner, kind, acme)
        assert (await deployment.audit())["ok"]
        await deployment.stop()


async def _effect(rig: Rig, owner: str, kind: str, acme: World) -> None:
    if kind == "credit":
        assert await rig.deployment.posted(acme.k2) == 51 * USD
    elif kind == "key":
        keys = (await rig.done("GET", "/keys?organization=acme", key=owner))["data"]
        assert len(keys) == 5
    elif kind == "statement":
        entries = await rig.done("GET", "/audit_entries?action=statement_issue", key=owner)
        assert [one["target"] for one in entries["data"]] == [acme.statement]
    else:
        assert (await rig.done("GET", f"/calls/{acme.call}", key=owner))["refunded_nano"] == 1
