"""What an edge answers: one module a subject, all routes in one tuple, the first that matches counts."""

from edge.routes import calls, generations, health, models, responses

ROUTES = (*calls.ROUTES, *responses.ROUTES, *models.ROUTES, *generations.ROUTES, *health.ROUTES)
