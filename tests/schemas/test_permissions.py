from schemas.bus.subjects import Role
from schemas.permissions import PERMISSIONS
from schemas.verbs import VERBS

# Written out by hand: a verb's row decides who may ask it, and a slip there is noticed here.
ASKS = {
    Role.EDGE: {
        *("ledger.ping", "ledger.key", "ledger.catalogue", "ledger.authorise", "ledger.reattempt"),
        *("ledger.renew", "ledger.release", "ledger.estimate", "ledger.generation"),
    },
    Role.WORKER: {"ledger.ping", "ledger.renew", "ledger.inventory"},
    Role.USAGE: set(),
    Role.LEDGER: set(),
    Role.COMMAND: {
        *("ledger.ping", "ledger.key_create", "ledger.key_list", "ledger.key_show", "ledger.key_revoke"),
        *("ledger.credit", "ledger.balance", "ledger.usage", "ledger.pools", "ledger.audit"),
        *("ledger.surprises", "ledger.surprises_forget", "ledger.models", "ledger.models_explain"),
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
        assert asked(role) == {verb.subject for verb in VERBS if role in verb.roles}


def test_no_role_but_usage_can_publish_a_bill():
    """Only the usage role may write the stream that bills callers, and nobody may tap the pools."""
    for role, permissions in PERMISSIONS.items():
        may_bill = any(subject.startswith("usage.") for subject in permissions.publish)
        assert may_bill == (role is Role.USAGE)
        assert "pool.>" not in permissions.subscribe
        assert ">" not in permissions.publish + permissions.subscribe
