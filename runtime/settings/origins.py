"""Owns which pages of other origins may read an edge's answers, from `[edge] cors_origins`."""

import re

from runtime.toml import Table

EVERY_ORIGIN = "*"
ORIGINS_MAX = 100
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


def read_origins(edge: Table) -> tuple[str, ...]:
    """The origins of a file; every one if it names none. Raises SettingsError."""
    origins = edge.texts("cors_origins")
    if origins is None:
        return (EVERY_ORIGIN,)
    if len(origins) > ORIGINS_MAX:
        raise edge.problem("cors_origins", f"names more than {ORIGINS_MAX} origins")
    for origin in origins:
        if origin != EVERY_ORIGIN and not _ORIGIN.fullmatch(origin):
            why = (
                f'"{origin}" is not an origin: write "*", or one as a browser sends it, "https://app.example"'
            )
            raise edge.problem("cors_origins", why)
    return origins
