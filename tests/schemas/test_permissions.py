import pytest

from schemas.bus.subjects import Role
from schemas.every_verb import EVERY_VERB
from schemas.permissions import OWN, PERMISSIONS, POOL_ROLES, is_user, permissions_of

# Written out by hand: a verb's row decides who may ask it, and a slip there is noticed here.
ASKS = {
    Role.EDGE: {
        *("ledger.ping", "ledger.key", "ledger.catalogue", "ledger.authorise", "ledger.reattempt"),
        *("ledger.renew", "ledger.release", "ledger.estimate", "ledger.generation", "ledger.self"),
    },
    Role.WORKER: {"ledger.ping", "ledger.renew", "ledger.inventory"},
    Role.USAGE: set(),
    Role.LEDGER: set(),
    Role.COMMAND: {
        *("ledger.ping", "ledger.key_create", "ledger.key_list", "ledger.key_show", "ledger.key_revoke"),
        *("ledger.credit", "ledger.balance", "ledger.usage", "ledger.pools", "ledger.audit"),
        *("ledger.surprises", "ledger.surprises_forget", "ledger.models", "ledger.models_explain"),
        *("ledger.admin_write", "ledger.audit_log", "ledger.credits", "ledger.parked", "ledger.limits_set"),
        *("ledger.sums", "ledger.cap_create", "ledger.cap_list", "ledger.cap_update", "ledger.cap_end"),
        *("ledger.key_find", "ledger.key_update", "ledger.key_rotate", "ledger.key_unhashed"),
        *("ledger.org_create", "ledger.org_list", "ledger.org_show", "ledger.org_update"),
        *("ledger.webhooks", "ledger.deliveries", "ledger.events", "ledger.admin_read", "ledger.export"),
        *("ledger.statement", "ledger.statements", "ledger.statement_issue", "ledger.topup"),
    },
    Role.CONSOLE: {
        *("ledger.ping", "ledger.console_read", "ledger.console_write", "ledger.console_issue"),
        *("ledger.console_topup", "ledger.oidc_begin"),
        *("ledger.hooks", "ledger.hook_log", "ledger.hook_disable", "ledger.stripe_event"),
    },
}


def asked(role: Role) -> set[str]:
    return {subject for subject in PERMISSIONS[role].publish if subject.startswith("ledger.")}


def test_who_may_ask_what():
    """Each role may ask exactly the verbs of the table above."""
    assert {role: asked(role) for role in Role} == ASKS


def test_permissions_follow_the_verbs():
    """Each role may ask exactly the verbs whose rows name it."""
    for role in Role:
        assert asked(role) == {verb.subject for verb in EVERY_VERB if role in verb.roles}


def test_no_role_but_usage_can_publish_a_bill():
    """Only the usage role may write the stream that bills callers, and nobody may tap the pools."""
    for role, permissions in PERMISSIONS.items():
        may_bill = any(subject.startswith("usage.") for subject in permissions.publish)
        assert may_bill == (role is Role.USAGE)
        assert "pool.>" not in permissions.subscribe
        assert ">" not in permissions.publish + permissions.subscribe


def test_a_list_has_an_id_or_a_queue_group():
    """nats-server fills an id into whole tokens, and leaves out every queue group beside one: no list has both."""
    for permissions in PERMISSIONS.values():
        with_id = [subject for subject in permissions.subscribe if OWN in subject]
        queued = [subject for subject in permissions.subscribe if " " in subject]
        assert not (with_id and queued)
        for subject in (*permissions.publish, *permissions.subscribe):
            assert subject.split(" ")[0].replace(OWN, "id").replace("*", "").count("{") == 0
            assert all(OWN in (token, "") or OWN not in token for token in subject.split("."))


def test_nobody_may_hear_what_another_of_its_role_may():
    """What is for one edge or worker alone is heard by its own id: inboxes, control, and what commands are answered."""
    for role in (Role.EDGE, Role.WORKER, Role.COMMAND):
        shared = [subject for subject in PERMISSIONS[role].subscribe if OWN not in subject]
        assert shared == (["beat.>", "edge.*"] if role is Role.EDGE else [])


def test_no_role_may_change_or_empty_a_stream():
    """Nobody updates, deletes, restores or takes from a stream; the items in memory alone may be purged, by workers."""
    said = [subject for permissions in PERMISSIONS.values() for subject in permissions.publish]
    managed = {subject for subject in said if subject.startswith("$JS.API.STREAM.")}
    assert {subject.split(".")[3] for subject in managed} == {"CREATE", "INFO", "MSG", "PURGE"}
    assert [subject for subject in managed if ".MSG." in subject] == ["$JS.API.STREAM.MSG.GET.USAGE"]
    assert [subject for subject in managed if ".PURGE." in subject] == ["$JS.API.STREAM.PURGE.KV_items"]


@pytest.mark.parametrize("role", POOL_ROLES)
def test_a_user_of_one_pool_may_nothing_in_another(role):
    """It may what its role may, with its pool's name wherever every pool's was meant."""
    every, one = PERMISSIONS[role], permissions_of(f"{role}.openai")
    for wide, narrow in zip((every.publish, every.subscribe), (one.publish, one.subscribe), strict=True):
        assert len(wide) == len(narrow)
        for before, after in zip(wide, narrow, strict=True):
            of_pool = before.startswith(("pool.*", "usage.*", "beat.*"))
            assert after == (before.replace(".*", ".openai", 1) if of_pool else before)
    assert permissions_of(role) is every


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nobody",
        "edge.openai",
        "ledger.x",
        "worker.",
        "worker.a.b",
        "worker.*",
        "worker.>",
        ".x",
        "worker. x",
    ],
)
def test_what_is_no_user(name):
    """Only roles, and workers' roles of a pool, are users."""
    assert not is_user(name)
    with pytest.raises(ValueError, match="no role"):
        permissions_of(name)
