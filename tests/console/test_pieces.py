"""Answers in pieces: at their reader's pace, cut off where they break, and over for who has left; and which form is wanted."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from console.api.accept import CSV, HTML, JSON, wanted
from console.api.routes import found
from console.pieces import BusyError, Pieces, Places
from console.statements import ChangedError, csv_of
from schemas.admin.reads import StatementRef
from schemas.verbs.base import Rows


class Reader:
    """The other end of an answer: takes a piece when it is told to."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.takes = asyncio.Semaphore(0)
        self.left = asyncio.Event()

    async def send(self, message: Any) -> None:
        """Takes one message; once it has left there is nobody to wait for."""
        waits = [asyncio.ensure_future(one) for one in (self.takes.acquire(), self.left.wait())]
        _, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in others:
            one.cancel()
        self.seen.append(message)

    async def receive(self) -> Any:
        """Tells that it has left."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def ended(self) -> bool:
        """Whether it was told that the answer is over."""
        return bool(self.seen) and not self.seen[-1].get("more_body", True)


class Source:
    """Makes pieces, counts them, and fails at one."""

    def __init__(self, count: int = 5, fails_at: int = 99) -> None:
        self.made = 0
        self.closed = False
        self._count, self._fails_at = count, fails_at

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The pieces."""
        try:
            while self.made < self._count:
                self.made += 1
                if self.made == self._fails_at:
                    raise RuntimeError("broken")
                yield f"{self.made}\n"
        finally:
            self.closed = True


async def _turns() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def _sending(answer: Pieces, reader: Reader, method: str = "GET") -> asyncio.Task[None]:
    return asyncio.create_task(answer({"type": "http", "method": method}, reader.receive, reader.send))


async def test_no_piece_is_made_before_it_can_be_sent() -> None:
    """Whoever reads slowly has one piece waiting for him, however long the file is."""
    source, reader = Source(count=1_000), Reader()
    sending = _sending(await Pieces.begun(source.pieces(), "a.csv"), reader)
    for taken in range(3):
        await _turns()
        assert len(reader.seen) == taken
        assert source.made <= taken + 1
        reader.takes.release()
    reader.left.set()
    await asyncio.wait_for(sending, 5)
    assert (source.closed, reader.ended, source.made < 10) == (True, False, True)


@pytest.mark.parametrize("fails_at", [2, 5])
async def test_what_breaks_never_ends(fails_at: int) -> None:
    """After a failure nothing is said any more, so the server closes the connection; before the first piece it is an error."""
    source, reader = Source(fails_at=fails_at), Reader()
    for _ in range(20):
        reader.takes.release()
    await _sending(await Pieces.begun(source.pieces(), "a.csv"), reader)
    assert len(reader.seen) == fails_at  # the head, and the pieces before
    assert (source.closed, reader.ended) == (True, False)
    with pytest.raises(RuntimeError):
        await Pieces.begun(Source(fails_at=1).pieces(), "a.csv")


async def test_what_is_whole_ends() -> None:
    """All pieces in their order, then the end; a name that is no plain one cannot end its header."""
    reader = Reader()
    for _ in range(20):
        reader.takes.release()
    answer = await Pieces.begun(Source().pieces(), 'a"\r\n\u00e4.csv')
    await _sending(answer, reader)
    assert b"".join(one.get("body", b"") for one in reader.seen) == b"1\n2\n3\n4\n5\n"
    assert reader.ended
    assert answer.headers["content-disposition"] == 'attachment; filename="a____.csv"'
    bodiless, source = Reader(), Source()
    for _ in range(20):
        bodiless.takes.release()
    await _sending(await Pieces.begun(source.pieces(), "a.csv"), bodiless, "HEAD")
    assert (bodiless.ended, source.made, source.closed) == (True, 1, True)


def test_places_are_each_credentials_own() -> None:
    """So many at once, given back however it ends, and nothing is kept of who has none."""
    places = Places(2)
    with places.one(b"a"), places.one(b"a"), places.one(b"b"), pytest.raises(BusyError), places.one(b"a"):
        pass
    with pytest.raises(ZeroDivisionError), places.one(b"a"):
        _ = 1 / 0
    assert places._taken == {}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/HTML;q=0.9, text/csv;q=0.5", HTML),
        ("text/html;q=0.1, text/csv;q=0.5", CSV),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("text/csv;q=0", JSON),
        ("text/csv;q=x", JSON),
        ("image/png", JSON),
        ("application/json, text/html", JSON),
    ],
)
def test_which_form_is_wanted(accept: str, kind: str) -> None:
    """The most wanted of those that there are, else JSON; a route with one form has that."""
    shown, export = (found("GET", path) for path in ("/statements/x", "/exports/focus.csv"))
    assert not isinstance(shown, tuple)
    assert not isinstance(export, tuple)
    assert wanted(accept, shown.route) == kind
    assert wanted(accept, export.route) == CSV


def _page(at: int, closing: int, *amounts: int) -> Rows:
    names = ("id", "number", "organization", "period")
    lines = [
        {"kind": "k", "key": "", "model": "", "calls": 0, "tokens": 0, "list_nano": 0, "amount_nano": nano}
        for nano in amounts
    ]
    row = {**dict.fromkeys(names, "x"), "status": "draft", "opening_nano": 0, "closing_nano": closing}
    return Rows(({**row, "lines": lines},), cursor=at)


@pytest.mark.parametrize("pages", [(_page(1, 3, 1), _page(0, 4, 3)), (_page(1, 3, 1), _page(0, 3, 1))])
async def test_a_month_that_changes_is_not_told(pages: tuple[Rows, Rows]) -> None:
    """Between two pages something was booked: the file breaks off before a closing that its lines do not make."""
    waiting = list(pages)

    async def read(_ref: StatementRef) -> Rows:
        return waiting.pop(0)

    told = ""

    async def reads() -> None:
        nonlocal told
        async for piece in csv_of("x", read):
            told += piece

    with pytest.raises(ChangedError):
        await reads()
    assert "closing" not in told
