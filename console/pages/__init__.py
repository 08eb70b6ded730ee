"""The pages of a console: one module a subject, all addresses in one tuple."""

from console.desk import Desk
from console.pages import (
    books,
    calls,
    caps,
    exports,
    key_acts,
    keys,
    log,
    models,
    organizations,
    overview,
    pools,
    settings,
    statements,
    topups,
    usage,
    webhooks,
)
from console.pages.site import PageRow, Site

ROWS: tuple[PageRow, ...] = (
    *overview.ROWS,
    *keys.ROWS,
    *key_acts.ROWS,
    *organizations.ROWS,
    *statements.ROWS,
    *exports.ROWS,
    *caps.ROWS,
    *usage.ROWS,
    *calls.ROWS,
    *pools.ROWS,
    *models.ROWS,
    *books.ROWS,
    *webhooks.ROWS,
    *settings.ROWS,
    *log.ROWS,
)


def site(desk: Desk) -> Site:
    """All pages, on one desk."""
    return Site(desk, (*ROWS, *topups.ROWS) if desk.payments else ROWS)
