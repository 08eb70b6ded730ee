"""What `tokn pools` makes of the beats of several workers: accounts, and the models out of use at each."""

from ledger.verbs.pools import MODELS_SHOWN_MAX, accounts_of
from schemas.bus.frames import AccountBeat, AccountState, Beat, ModelBeat
from tokn import show

CREDIT = {"main": 5, "spare": None}


def beat(worker: str, *models: ModelBeat) -> Beat:
    """A worker with one account that is in use but for some models."""
    account = AccountBeat("main", AccountState.OK, 1, 4, models=models, models_out=len(models))
    return Beat(1, worker, "openai", "openai", 1, 4, True, ("m",), (), (account,))


def test_models_out_of_use_are_merged_over_workers():
    """Each once, as the worker says that leaves it alone for longest, with how many workers do; the longest first."""
    slow, longer = (ModelBeat("a", AccountState.COOLING, until, "slow", False) for until in (10.0, 20.0))
    gone = ModelBeat("b", AccountState.GONE, 15.0, "gone")
    main, spare = accounts_of([beat("w1", slow), beat("w2", longer, gone)], CREDIT)
    assert main["models"] == [
        {"id": "a", "state": "cooling", "until": 20.0, "reason": "slow", "for_all": False, "workers": 2},
        {"id": "b", "state": "gone", "until": 15.0, "reason": "gone", "for_all": True, "workers": 1},
    ]
    assert (main["state"], main["capacity"], spare["models"]) == ("ok", 8, [])


def test_models_out_of_use_are_bounded():
    """However many workers name different ones, an account shows so many, those for longest."""
    beats = [
        beat(
            f"w{worker}",
            *(ModelBeat(f"{worker}-{n}", AccountState.COOLING, worker + n / 16, "") for n in range(16)),
        )
        for worker in range(20)
    ]
    models = accounts_of(beats, CREDIT)[0]["models"]
    assert len(models) == MODELS_SHOWN_MAX
    assert [model["until"] for model in models] == sorted((one["until"] for one in models), reverse=True)
    assert models[0]["id"] == "19-15"


def test_people_read_a_time():
    """The end of a state is a date in the table, as all times are."""
    assert show.cell("until", 1_795_000_000.5) == "2026-11-18 11:06:40"
