"""Whether holds are certain to be open: no figure is told of a call whose lease may have ended."""

from workers.calls.leases import SURE_S, Leases


def test_a_young_call_is_sure() -> None:
    """Its edge took or renewed the hold a moment before the accept."""
    leases = Leases()
    assert leases.sure(1_000.0, 1_000.0 + SURE_S)
    assert not leases.sure(1_000.0, 1_000.1 + SURE_S)


def test_a_long_call_is_sure_while_leases_are_renewed() -> None:
    """Each renewal that a ledger confirms counts for all calls that had begun."""
    leases = Leases()
    for now in range(1_000, 1_100, 10):
        leases.renewed(float(now))
    assert leases.sure(1_000.0, 1_095.0)
    assert not leases.sure(1_000.0, 1_091.0 + SURE_S)


def test_a_gap_is_remembered() -> None:
    """A hold may have ended while no ledger answered, though renewals go on: younger calls are sure all the same."""
    leases = Leases()
    leases.renewed(1_000.0)
    leases.renewed(1_040.0)
    assert not leases.sure(990.0, 1_041.0)
    assert not leases.sure(1_010.0, 1_041.0)
    assert leases.sure(1_030.0, 1_041.0)
    leases.renewed(1_050.0)
    assert not leases.sure(1_010.0, 1_051.0)
