from hypothesis import given
from hypothesis import strategies as st

from schemas.bus import subjects
from schemas.bus.subjects import Role


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


def test_no_role_but_usage_can_publish_a_bill():
    """Only the usage role may write the stream that bills callers, and nobody may tap the pools."""
    for role, permissions in subjects.PERMISSIONS.items():
        may_bill = any(subject.startswith("usage.") for subject in permissions.publish)
        assert may_bill == (role is Role.USAGE)
        assert "pool.>" not in permissions.subscribe
        assert ">" not in permissions.publish + permissions.subscribe
