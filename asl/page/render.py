"""A page: one HTML file that needs no other files, made of a template, tables, charts and their script.

A program's page is a folder with ``page.html``, which extends ``base.html`` of this package. ``page.css`` and
``page.js``, where they are needed, follow ``base.css`` and ``base.js``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asl.files import atomic_write_text
from asl.page.charts import HEIGHT, Chart
from asl.page.table import Table

_BASE = Path(__file__).parent


def render_page(
    folder: Path,
    *,
    tables: Mapping[str, Table],
    charts: Mapping[str, Chart | None],
    data: Mapping[str, Any] | None = None,
    **content: Any,
) -> str:
    """The page's HTML. Text is escaped; only the page's own script may run.

    Args:
        folder: of ``page.html``, ``page.css`` and ``page.js``.
        tables: by the name that the template uses.
        charts: by the name that the template uses; None is left out.
        data: what the page's script needs besides tables and charts.
        content: other variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, _BASE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}\u00a0%"
    style, script = (
        "".join(
            file.read_text(encoding="utf-8")
            for file in (_BASE / f"base.{kind}", folder / f"page.{kind}")
            if file.is_file()
        )
        for kind in ("css", "js")
    )
    return environment.get_template("page.html").render(
        tables=tables,
        charts=charts,
        chart_height=HEIGHT,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=as_script_data(
            {
                "tables": {name: table.packed() for name, table in tables.items()},
                "charts": {name: chart.labels for name, chart in charts.items() if chart},
                **(data or {}),
            }
        ),
        **content,
    )


def write_page(path: Path, html: str) -> None:
    """Write a page. It is replaced as a whole or not at all."""
    # File names are bytes and need not be UTF-8; what is not is shown as "?".
    atomic_write_text(path, html.encode("utf-8", "replace").decode("utf-8"))


def as_script_data(data: Any) -> str:
    """JSON for a ``<script>`` element. It has no ``<``, so no end tag and no comment.

    >>> as_script_data("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
