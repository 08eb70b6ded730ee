"""What an edge answers: one module a subject, all routes in one tuple, the first that matches counts."""

from edge.http.gate import Door, Gate
from edge.http.intake import KEY_HEADERS
from edge.routes import calls, counts, generations, health, models, own, responses
from schemas.dialects import DIALECTS

ROUTES = (
    *calls.ROUTES,
    *counts.ROUTES,
    *responses.ROUTES,
    *models.ROUTES,
    *generations.ROUTES,
    *own.ROUTES,
    *health.ROUTES,
)


def gate() -> Gate:
    """The routes that strangers are refused at, before their requests are more than a head: the calls, and the list."""
    doors = {
        (b"POST", dialect.path.encode()): Door(dialect.name, dialect.key_headers) for dialect in DIALECTS
    }
    return Gate({**doors, (b"GET", b"/v1/models"): Door("models", KEY_HEADERS)})
