"""Setting the page: templates, style and script into one HTML file that asks nothing of the network.

A reader's browser gets a content security policy that knows the page's own script and style by their
hashes, so that text from a table, even if it slipped through the escaping, could not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hierarchical_twin.report.page.sections import Download, Page

_PACKAGE = "hierarchical_twin.report"
_SCRIPTS = (
    "elements.js",
    "saving.js",
    "theme.js",
    "numbers.js",
    "chart.js",
    "strip.js",
    "table.js",
    "patient.js",
    "downloads.js",
    "page.js",
)
_STYLES = ("page.css", "parts.css", "print.css")
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render_page(page: Page) -> str:
    """The page as HTML."""
    return set_page(
        "page.html",
        _SCRIPTS,
        page=page,
        data=Markup(embedded({"head": page.patients.head, "rows": page.patients.rows})),
        blocks=[Markup(embedded(block)) for block in page.patients.blocks],
        downloads=Markup(embedded(contents_of(page.downloads))),
    )


def set_page(template: str, scripts: Sequence[str], **values: Any) -> str:
    """A template with its values, its scripts, the style all pages share, and the policy that holds them."""
    script = '"use strict";\n(() => {\n' + "\n".join(_part(name) for name in scripts) + "\n})();\n"
    style = "\n".join(_part(name) for name in _STYLES)
    parts = {"script": Markup(script), "style": Markup(style), "policy": _policy(script, style)}
    return _environment().get_template(template).render(**values, **parts)


def embedded(value: Any) -> str:
    """A value as JSON that is safe inside a script element: no character of it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return text


def contents_of(downloads: Sequence[Download]) -> list[dict[str, Any]]:
    """What the page carries of its downloads."""
    return [
        {"name": one.name, "columns": one.columns, "rows": one.rows, "text": one.text} for one in downloads
    ]


def _policy(script: str, style: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src-elem '{_hash(style)}'",
            "style-src-attr 'unsafe-inline'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    folder = "scripts" if name.endswith(".js") else "styles"
    return files(_PACKAGE).joinpath("templates", folder, name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markup"] = Markup  # for pictures only: matplotlib has escaped their text
    environment.globals["LIGHTS"] = LIGHTS
    return environment


LIGHTS = {
    "passed": ("✓", "Passed"),
    "attention": ("!", "Read this"),
    "failed": ("✗", "Failed"),
    "unknown": ("–", "Not known"),
}
"""Sign and word of each state of a check, so that colour never speaks alone."""
