from hypothesis import given
from hypothesis import strategies as st

from schemas.bus import subjects


def test_a_frame_subject_is_read_back():
    """Request id and attempt come back out of the subject that they went into."""
    subject = subjects.frames("e1", "req_1", 3)
    assert subjects.parse_frames(subject) == ("req_1", 3)
    assert subjects.is_frames_inbox(subject)


@given(st.text(max_size=80))
def test_nothing_else_passes_for_a_frame_inbox(text):
    """A worker writes to frame inboxes only, whatever reply subject a job names."""
    if subjects.is_frames_inbox(text):
        assert subjects.parse_frames(text) is not None
        assert text.startswith("_INBOX.")
    for forged in (
        "usage.openai",
        "ledger.authorise",
        "_INBOX.edge.r.abc.1",
        "_INBOX.e.f.>.1",
        "_INBOX.*.f.c.1",
    ):
        assert not subjects.is_frames_inbox(forged)


def test_a_control_subject_names_its_worker():
    """What a worker's frames name as their reply is read back as its id; the bus's other names are never one."""
    assert subjects.controlled(subjects.control("w1")) == "w1"
    assert not subjects.is_token(subjects.controlled("usage.openai"))
