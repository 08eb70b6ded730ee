"""Owns the answer with the models: pages of what a ledger read at its start, or that nothing has changed."""

from bisect import bisect_right

from ledger.prices.offers import Catalogue
from ledger.verbs.base import Read, Services
from schemas.verbs import catalogue
from schemas.verbs.catalogue import PAGE_MODELS, CatalogueQuery, CatalogueReply


def page(sold: Catalogue, request: CatalogueQuery) -> CatalogueReply:
    """One page, the first with all aliases and what has no route; or all models for an asker that knows neither pages nor aliases."""
    if request.known is None:
        return CatalogueReply(sold.sorted)
    if request.known == sold.version:
        return CatalogueReply((), sold.version)
    start = bisect_right(sold.sorted, request.after, key=lambda model: model.id) if request.after else 0
    models = sold.sorted[start : start + PAGE_MODELS]
    more = start + PAGE_MODELS < len(sold.sorted)
    aliases, unrouted = ((), ()) if request.after else (sold.aliases, sold.unrouted)
    return CatalogueReply(models, sold.version, models[-1].id if more else "", aliases, unrouted)


async def _models(services: Services, request: CatalogueQuery) -> CatalogueReply:
    return page(services.committer.catalogue, request)


CATALOGUE = Read(verb=catalogue.CATALOGUE, answer=_models)
