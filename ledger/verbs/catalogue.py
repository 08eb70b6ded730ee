"""Owns the answer with all models: made once, since a ledger prices by what it read at its start."""

from ledger.verbs.base import Fixed, Services
from schemas.verbs import catalogue
from schemas.verbs.catalogue import CatalogueReply


def _models(services: Services) -> CatalogueReply:
    return CatalogueReply(tuple(services.committer.catalogue.models.values()), services.aliases)


CATALOGUE = Fixed(verb=catalogue.CATALOGUE, answer=_models)
