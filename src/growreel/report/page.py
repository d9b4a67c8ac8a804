"""Templates to one file that needs nothing else: styles, script and pictures are inside it."""

from __future__ import annotations

import datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from growreel.report import words
from growreel.runtime.version import installed_version


def render(template: str, **values: Any) -> str:
    """A page from a template of this package. Every value is escaped; a name that a template lacks is an error."""
    environment = Environment(
        loader=PackageLoader("growreel.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in ("times", "count", "short_count", "figure", "duration", "gigabytes", "plural"):
        environment.filters[name] = getattr(words, name)
    environment.filters["code"] = _code
    return environment.get_template(template).render(
        style=_own_text("style.css"),
        script=_own_text("script.js"),
        version=installed_version("growreel"),
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **values,
    )


def _code(text: str) -> Markup:
    """Escaped text, with what stands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts))


def _own_text(name: str) -> Markup:
    """A file of this package, which is not escaped."""
    return Markup((resources.files("growreel.report") / "templates" / name).read_text(encoding="utf-8"))
