"""Pages of inline PDFs: counted in full or not at all, beside the loop, within a deadline."""

import asyncio
import base64
import gc
import threading
import time

import pytest

from edge.admission import pages
from edge.admission.pages import JOBS_MAX, PageCounter, count_pages
from schemas.asked import CAPS_ONLY, NOTHING_SEEN, Document, Seen
from schemas.catalogue.profiles import profiled
from schemas.chat.counted import document
from tests.fakes.documents import broken_pdfs, lying_pdfs, packed, pdf, repeated, tree, updated
from tests.fakes.ticks import Ticks


def counted(data: bytes) -> int:
    """The pages of a PDF; 0 where they are not counted."""
    try:
        return count_pages(data, time.monotonic() + 10)
    except Exception:  # noqa: BLE001  whatever the library raises
        return 0


@pytest.mark.parametrize("number", [1, 2, 25, 300])
def test_honest_documents_are_counted(number):
    """A document has the pages of its tree, whether its objects are compressed, and after a further revision."""
    assert counted(pdf(tree(number))) == number
    assert counted(packed(tree(number))) == number
    assert counted(updated(pdf(tree(1)), tree(number))) >= number


def test_forty_documents_never_get_under_their_hold():
    """Whatever a document says of itself, it holds the pages that a reader may find, or the window."""
    crafted = list(lying_pdfs())
    assert len(crafted) >= 40
    known = 0
    for number, (data, most) in enumerate(crafted):
        found = counted(data)
        known += bool(found)
        assert found == 0 or found >= most, (number, found, most)
        for able in (profiled("openai", "gpt-4o"), profiled("anthropic", "claude-opus-5-5")):
            seen = Seen(pages={"p": found}) if found else NOTHING_SEEN
            cost = able.pictures.tokens(1_275, 1_650, None) + 750
            assert document(able, seen, "p").most >= min(most * cost, 2_000_000)
    assert known > len(crafted) // 3  # not for want of counting


def test_the_page_that_is_named_six_hundred_times_is_six_hundred():
    """The document that shows one page to a search for pages, and is dear."""
    data = packed(repeated(600))
    assert b"/Page" not in data
    assert len(data) < 6_000
    assert counted(data) == 600


def test_what_is_no_document_is_not_counted():
    """Circles, deep and wide trees, missing pages, and files that a reader would have to repair have no count."""
    for number, data in enumerate(broken_pdfs()):
        assert counted(data) == 0, number


def test_a_document_costs_its_pages():
    """The bound is the pages' pictures and text, at most the window; the estimate what a page usually is."""
    able = profiled("openai", "gpt-4o")
    found = document(able, Seen(pages={"p": 3}), "p")
    assert (found.most, found.likely) == (3 * (1_500 + 4_000), 3 * (765 + 750))
    assert document(able, NOTHING_SEEN, "p").most == able.file_tokens_max
    assert document(able, CAPS_ONLY, "p").most == able.file_tokens_max


def asked(data: bytes, param: str = "p") -> Document:
    """A document of a body."""
    url = "data:application/pdf;base64," + base64.b64encode(data).decode()
    return Document(param, url, url.index(",") + 1)


async def test_each_document_of_a_call_is_counted():
    """Those that can be counted are, whatever the others are, and the library's thread does not block the loop."""
    counter = PageCounter()
    try:
        documents = (asked(pdf(tree(4)), "a"), asked(b"noise", "b"), asked(packed(tree(9)), "c"))
        assert await counter.count(documents) == {"a": 4, "c": 9}
        spaced = asked(pdf(tree(4))).data.replace(",JV", ", JV")
        assert await counter.count((Document("d", spaced, spaced.index(",") + 1),)) == {}
    finally:
        counter.close()


async def test_a_table_without_an_end_is_read_until_the_deadline(monkeypatch):
    """A document whose table alone would take the library seconds is given up in its thread, too."""
    monkeypatch.setattr(pages, "COUNT_S", 0.2)
    entries = 400_000
    body = b"%%PDF-1.7\nxref\n0 %d\n" % entries + b"0000000009 00000 x \n" * entries
    counter = PageCounter()
    try:
        assert await counter.count((asked(pdf(tree(1))), asked(body + b"startxref\n9\n%%EOF\n", "q"))) in (
            {},
            {"p": 1},
        )
        waited = Ticks()
        await asyncio.wrap_future(counter._jobs[0])
        assert waited.s < 1
    finally:
        counter.close()


class _Dropped:
    """What the garbage collector finds while a document is read, and whose finalizer is at work when the time is over."""

    done = False
    after = 0.0  # from when on; the library reads its file before, and then looks at the time itself

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        counting = threading.current_thread().name.startswith("pages")
        end = self.after + 1.0 if counting and time.monotonic() > self.after else 0
        while time.monotonic() < end:
            _nothing()
            _Dropped.done = True


def _nothing() -> None:
    """A function that is called."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_finalizer_does_not_take_the_deadline(monkeypatch):
    """The end of the time may fall into a finalizer that the garbage collector calls, which swallows what is raised."""
    row = b"[" + b"0 " * 20_000 + b"]"
    bomb = asked(packed(tree(1) | {5: b"[" + row * 200 + b"]"}), "b")
    counter = PageCounter()
    monkeypatch.setattr(_Dropped, "done", False)

    def litter(_phase: str, _info: dict[str, int]) -> None:
        if not _Dropped.done:  # so that each collection finds a finalizer to call
            _Dropped()

    gc.callbacks.append(litter)
    try:
        assert counted(pdf(tree(1))) == 1
        # The finalizer begins between these two, on however busy a machine, and ends after both.
        monkeypatch.setattr(pages, "COUNT_S", 1.0)
        monkeypatch.setattr(_Dropped, "after", time.monotonic() + 0.2)
        waited = Ticks()
        assert await counter.count((bomb,)) == {}
        await asyncio.wrap_future(counter._jobs[0])
        assert _Dropped.done
        assert waited.s < 3
    finally:
        gc.callbacks.remove(litter)
        counter.close()


async def test_a_stream_that_inflates_to_millions_of_objects_is_left_at_the_deadline(monkeypatch):
    """What a few kilobytes inflate to is not read to its end: the thread is free again soon, and its next call counts."""
    row = b"[" + b"0 " * 20_000 + b"]"
    bomb = asked(packed(tree(1) | {5: b"[" + row * 200 + b"]"}), "b")
    counter = PageCounter()
    try:
        assert counted(pdf(tree(1))) == 1  # the library is there: only the file takes time
        monkeypatch.setattr(pages, "COUNT_S", 0.3)
        waited = Ticks()
        assert await counter.count((bomb, asked(pdf(tree(1)), "a"))) == {}
        await asyncio.wrap_future(counter._jobs[0])
        assert waited.s < 3
        monkeypatch.setattr(pages, "COUNT_S", 10)
        assert await counter.count((asked(pdf(tree(1)), "a"),)) == {"a": 1}
    finally:
        counter.close()


def test_pages_in_the_open_are_counted_wherever_a_piece_ends(monkeypatch):
    """The search goes piece by piece, and a mark that two pieces share counts once."""
    data = b"/Type /Pages " + b"/Type /Page /Type/Page /Type/Pages " * 3
    for piece in range(1, len(data) + 2):
        monkeypatch.setattr(pages, "_PIECE_CHARS", piece)
        assert pages._marks(data) == 6


async def test_a_reader_that_hangs_costs_nobody_more_than_a_deadline(monkeypatch):
    """A count that takes too long is given up, no more than a few wait behind it, and later ones are counted again."""
    held = threading.Event()
    monkeypatch.setattr(pages, "COUNT_S", 0.1)
    monkeypatch.setattr(pages, "count_pages", lambda data, until: held.wait(10) and 5)
    counter = PageCounter()
    try:
        waited = Ticks()
        calls = [counter.count((asked(b"x"),)) for _ in range(JOBS_MAX + 4)]
        assert await asyncio.gather(*calls) == [{}] * (JOBS_MAX + 4)
        assert waited.s < 5
        assert len(counter._jobs) <= JOBS_MAX
        held.set()
        monkeypatch.setattr(pages, "COUNT_S", 10)
        while (found := await counter.count((asked(b"x"),))) == {}:
            await asyncio.sleep(0.01)
        assert found == {"p": 5}
    finally:
        held.set()
        counter.close()
