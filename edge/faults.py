"""Owns the words for what goes wrong inside the gateway itself, as callers read them."""

from schemas.errors import WireError, saturated, unavailable, upstream_failed

BUS_AWAY = unavailable("The gateway's bus does not answer. Retry with backoff.")
LEDGER_AWAY = unavailable("The gateway's ledger does not answer. Retry with backoff.")
WORKER_FAILED = upstream_failed("The gateway's worker failed. Retry with backoff.")
WORKERS_FAILED = upstream_failed("The gateway's workers failed. Retry with backoff.")
PART_LOST = upstream_failed("Part of the answer was lost inside the gateway. Retry with backoff.")
NO_MEMORY = upstream_failed("The answer does not fit into the gateway's memory now. Retry with backoff.")
TOO_MUCH = upstream_failed("The gateway's worker sent more than it was allowed to. Retry with backoff.")


def no_room(model: str) -> WireError:
    """429: nobody takes a call of this model now."""
    return saturated(f"No worker has room for the model `{model}` now. Retry with backoff.")


def beyond_share(model: str) -> WireError:
    """429: a key's own calls are all that it may have in its pool now."""
    return saturated(
        f"This key has its share of all calls to the pool of the model `{model}` in flight. Retry with backoff."
    )
