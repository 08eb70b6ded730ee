"""Owns the environment that templates are rendered in: every value escaped, every name that is missing an error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined

from web.assets import Assets
from web.charts import bars, spark, stacked
from web.figures import FILTERS, share
from web.latency import latency

TEMPLATES: Final = Path(__file__).parent / "templates"


class Pages:
    """Templates and assets of this package, and of those beside it that have folders of their own.

    All files are read here, once. A template of a later folder stands for one of the same name before it.
    """

    def __init__(self, *templates: Path, assets: Assets | None = None) -> None:
        self.assets = assets or Assets()
        texts = {
            str(file.relative_to(folder)): file.read_text(encoding="utf-8")
            for folder in (TEMPLATES, *templates)
            for file in sorted(folder.rglob("*.html"))
        }
        self._environment = Environment(
            loader=DictLoader(texts),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(
            asset=self.assets.url, bars=bars, stacked=stacked, spark=spark, latency=latency, share=share
        )

    def render(self, name: str, **values: Any) -> bytes:
        """A page. Raises jinja2.TemplateError."""
        return self._environment.get_template(name).render(values).encode()

    def check(self) -> Mapping[str, Any]:
        """Compiles every template: what a test asks, and a service that would rather fail at its start."""
        return {name: self._environment.get_template(name) for name in self._environment.list_templates()}
