"""Owns why a call is stopped from outside."""

from enum import StrEnum


class Stop(StrEnum):
    """Why."""

    CANCELLED = "cancelled"  # by its edge: the caller has left
    REPLACED = (
        "replaced"  # by its edge, though the caller has not left: nobody waits for this attempt any more
    )
    EDGE_GONE = "edge_gone"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"  # this worker ends before the call did


UNWANTED = (Stop.CANCELLED, Stop.REPLACED, Stop.EDGE_GONE)  # nobody is there to have the answer
