"""Owns which error a caller sees whose call no account has served."""

import time

from msgspec import structs

from schemas.bus.frames import Job
from schemas.embeddings.request import EMBEDDINGS
from schemas.errors import WireError, model_not_found, unavailable
from workers.calls.serving import Serving
from workers.providers.base import Action, Fault

_NO_ROOM = unavailable("Every upstream account of the pool is busy. Retry with backoff.")


def without_account(serving: Serving, job: Job, now: float) -> WireError:
    """Where none takes the call that has not been tried for it. `now` is time.monotonic()."""
    return serving.accounts.refusal(job.upstream, job.scope, job.hold_list_nano, now) or _NO_ROOM


def after(serving: Serving, job: Job, fault: Fault) -> WireError:
    """Where the newest try has failed."""
    if fault.action is Action.GONE:
        model = serving.models[job.model]
        return model_not_found(model.id, serving.successor(model, time.monotonic()))
    if job.dialect == EMBEDDINGS and fault.error.param == "messages":  # families speak of a chat's prompt
        return structs.replace(fault.error, param="input")
    return fault.error
