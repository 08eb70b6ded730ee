"""Owns what the public pages are at the moment of a release: `make pages` writes it to `compiled`, and a test compares.

So no edge loads a template engine, which costs 5 MB and a tenth of its start. What a deployment has of its own stands
in the compiled texts as marks, which `edge.site.site` fills in.
"""

from pathlib import Path
from typing import Final

import msgspec

from edge.site.declared.base import BASE
from edge.site.declared.document import document
from edge.site.declared.samples import CHAT
from edge.site.declared.samples import MODEL as SAMPLED
from edge.site.site import COMPILED, LIVE, MODEL, RATE, asset_mark
from web.assets import Assets
from web.pages import Pages
from web.reference import reference

TEMPLATES: Final = Path(__file__).parent / "templates"
_NAV: Final = (
    ("/", "Start"),
    ("/docs", "API reference"),
    ("/playground", "Playground"),
    ("/openapi.json", "OpenAPI"),
)
_TITLES: Final = {"curl": "curl", "Python": "Python (OpenAI SDK)", "Node": "Node (OpenAI SDK)"}
_ROUTES: Final = (
    (
        "createChatCompletion",
        "POST /v1/chat/completions",
        "streaming and non-streaming JSON bodies match OpenAI",
    ),
    (
        "createCompletion",
        "POST /v1/completions",
        "legacy text completions, emulated where the upstream has none",
    ),
    ("createResponse", "POST /v1/responses", "OpenAI's Responses, for every model"),
    ("createMessage", "POST /v1/messages", "Anthropic's Messages, for every model"),
    ("createEmbedding", "POST /v1/embeddings", "vectors of texts"),
    (
        "listModels",
        "GET /v1/models",
        "capability discovery; filter client-side to the providers you enabled for your key",
    ),
    ("getReceipt", "GET /v1/generations/{id}", "the receipt of a call, by its x-request-id"),
    ("getKey", "GET /v1/key", "what your key has used, and what is left"),
)
_MODELS: Final = (
    ("gpt-4o", "OpenAI GPT-4o"),
    ("gpt-4o-mini", "OpenAI GPT-4o mini"),
    ("gpt-4-turbo", "OpenAI GPT-4 Turbo"),
    ("claude-3-5-sonnet-20241022", "Anthropic Claude 3.5 Sonnet"),
    ("claude-3-opus-20240229", "Anthropic Claude 3 Opus"),
    ("claude-3-haiku-20240307", "Anthropic Claude 3 Haiku"),
    ("gemini-1.5-pro-latest", "Google Gemini 1.5 Pro"),
    ("gemini-1.5-flash-latest", "Google Gemini 1.5 Flash"),
    ("amazon.titan-text-express-v1", "AWS Bedrock Titan (example)"),
    ("tokn-sandbox", "This gateway's own, to try it without a provider"),
)
_FIGURES: Final = (
    ("cost", "Cost"),
    ("first", "First token"),
    ("speed", "Tokens a second"),
    ("total", "In all"),
)
_LANGUAGES: Final = (("curl", "curl"), ("python", "Python"), ("node", "Node"))


class _Marked(Assets):
    """Assets whose addresses are marks: a new style sheet changes no page."""

    def url(self, name: str) -> str:
        """The mark of a file. Raises KeyError."""
        self.named(name)
        return asset_mark(name)


def compiled() -> dict[str, bytes]:
    """Every file of `compiled`, by its name."""
    pages = Pages(TEMPLATES, assets=_Marked())
    made = document()
    shared = {"nav": _NAV, "base": BASE}
    samples = [(one.language, one.code.replace(SAMPLED, MODEL)) for one in CHAT]
    return {
        "index.html": pages.render(
            "index.html",
            **shared,
            current="/",
            modules=["copy.js"],
            samples=samples,
            title=_TITLES,
            routes=_ROUTES,
            models=_MODELS,
            rate=RATE,
            live=LIVE,
        ),
        "docs.html": pages.render(
            "docs.html", **shared, current="/docs", modules=["copy.js"], told=reference(made)
        ),
        "playground.html": pages.render(
            "playground.html",
            **shared,
            current="/playground",
            modules=["copy.js", "playground.js"],
            figures=_FIGURES,
            languages=_LANGUAGES,
        ),
        "openapi.json": msgspec.json.encode(made) + b"\n",
    }


def main() -> None:
    """Writes them."""
    for name, text in compiled().items():
        (COMPILED / name).write_bytes(text)


if __name__ == "__main__":
    main()
