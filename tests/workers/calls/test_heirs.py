"""An account that gets other settings: its heir has its place and its counts, and tries under way keep the old one."""

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountState
from workers.calls import doors
from workers.calls.accounts import Accounts
from workers.providers.faults import DEAD_KEY

OLD = AccountSettings(id="a", base_url="http://one", api_key="sk-old-key", max_inflight=2, credit_nano=100)
NEW = AccountSettings(id="a", base_url="http://one", api_key="sk-new-key", max_inflight=2, credit_nano=100)
WIDER = AccountSettings(id="a", base_url="http://one", api_key="sk-old-key", max_inflight=9, credit_nano=100)
OTHER = AccountSettings(id="b", base_url="http://two", api_key="sk-other")


def test_an_heir_has_what_is_in_flight():
    """Calls of before count for the heir, and end there: it never has more room or credit than the account really has."""
    accounts = Accounts([OLD])
    (old,) = accounts.all
    old.credit_nano = 50  # as the ledger has told
    old.take(30)
    accounts.adopt([NEW])
    (new,) = accounts.all
    assert new is not old
    assert (new.inflight, new.left_nano) == (1, 20)
    new.take(10)
    assert accounts.pick("m", "k", 1, set(), 0.0) is None, "both places are taken"
    old.give_back(30, 0.0)
    assert new.inflight == 1
    assert accounts.pick("m", "k", 1, set(), 0.0) is new
    accounts.tick(10.0)
    assert new.left_nano == 40


def test_a_refusal_of_the_old_key_closes_nothing_for_the_new_one():
    """What tries under way meet counts against the account that they began with; the heir of a refused one is open."""
    accounts = Accounts([OLD])
    (old,) = accounts.all
    old.failed(DEAD_KEY, "m", "k", 0.0)
    assert old.condition.state is AccountState.REFUSED
    accounts.adopt([NEW])
    (new,) = accounts.all
    old.failed(DEAD_KEY, "m", "k", 1.0)
    assert new.condition.state is AccountState.OK
    assert new.without_secrets("sk-old-key and sk-new-key") == "[redacted] and [redacted]"


def test_more_room_forgets_nothing():
    """The same place with the same credentials is the same account: what was met there still counts, with other room."""
    accounts = Accounts([OLD])
    (old,) = accounts.all
    old.failed(DEAD_KEY, "m", "k", 0.0)
    accounts.adopt([WIDER])
    (new,) = accounts.all
    assert new.condition.state is AccountState.REFUSED
    assert accounts.capacity == 9


def test_accounts_come_and_go():
    """What does not differ stays as it is; one that is gone is picked no more, and its calls still end."""
    accounts = Accounts([OLD, OTHER])
    old, other = accounts.all
    old.take(1)
    accounts.adopt([OTHER])
    assert accounts.all == [other]
    assert not accounts.metered
    old.give_back(1, 0.0)
    assert old.inflight == 0
    accounts.adopt([OTHER, OLD])
    assert accounts.all[0] is other
    assert accounts.all[1] is not old


def test_a_chain_of_heirs_counts_once():
    """However often an account changes while a call runs, the call ends once, at the newest."""
    accounts = Accounts([OLD])
    (first,) = accounts.all
    first.take(1)
    for settings in (NEW, OLD, WIDER, NEW):
        accounts.adopt([settings])
    (last,) = accounts.all
    assert last.inflight == 1
    first.give_back(1, 0.0)
    assert last.inflight == 0


def test_files_of_credentials_are_read_again(tmp_path):
    """Another content is another account; the same, an empty one, or none that can be read is not."""
    path = tmp_path / "key"
    account = AccountSettings(id="a", api_key="one", files={"api_key": str(path)})
    assert doors.reread(account) is None
    for content, found in ((b"one\n", None), (b"", None), (b"\xff", None), (b"two\n", "two")):
        path.write_bytes(content)
        fresh = doors.reread(account)
        assert (fresh.api_key if fresh is not None else None) == found
