"""Owns what operators are told of failed tries: a bounded warning each, and the reason that the books keep."""

from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.bus.frames import Job
from workers.calls.accounts import Account
from workers.providers.base import About, Fault
from workers.providers.words import Words

REASON_CHARS_MAX = 300

_failed = Warnings(get_logger("workers.tries"), "a call of an upstream failed")


def own_words(fault: Fault, words: Words, account: Account) -> tuple[str, str]:
    """The code and the message of a fault: the upstream's, where it had some, else ours.

    What is about the request alone has no message: it may quote the request, and whoever sent it has been told.
    """
    code = words.code or fault.error.code or fault.error.type
    if fault.about is About.REQUEST:
        return code, ""
    return code, account.without_secrets(words.message or fault.reason or fault.error.message)


def reason(fault: Fault | None, words: Words, account: Account) -> str:
    """Why a try failed, in one line; "" for one that did not."""
    if fault is None:
        return ""
    code, message = own_words(fault, words, account)
    return (f"{code}: {message}" if message else code)[:REASON_CHARS_MAX]


def warn(job: Job, pool: str, account: Account, failed: tuple[Fault, Words, int]) -> None:
    """One line about a failed try, unless there are too many of its account: its fault, the upstream's words, its status."""
    fault, words, status = failed
    code, message = own_words(fault, words, account)
    _failed.say(
        f"{pool}/{account.settings.id}/{status}",
        request_id=job.request_id,
        attempt=job.attempt,
        scope=job.scope,
        pool=pool,
        account=account.settings.id,
        model=job.upstream,
        status=status,
        code=code,
        message=message,
        upstream_request_id=words.request_id,
        answer=fault.error.status,
    )
