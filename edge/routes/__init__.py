"""What an edge answers: one module a subject, all routes in one tuple, the first that matches counts."""

from edge.routes import calls, counts, generations, health, models, responses

ROUTES = (
    *calls.ROUTES,
    *counts.ROUTES,
    *responses.ROUTES,
    *models.ROUTES,
    *generations.ROUTES,
    *health.ROUTES,
)
