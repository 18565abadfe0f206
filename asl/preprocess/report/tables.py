"""Tables as the page's script wants them: small, and with nothing in them that a browser would run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Cell = str | int | float | None

#: How a column is shown, sorted and aligned. ``bar`` is a number with a bar as long as its share of
#: the column's largest, ``share`` a number from 0 to 1, ``words`` text that may wrap, ``flags`` words
#: that are each shown as a label, ``url`` a link where it is http or https and text where it is not.
Kind = Literal["text", "words", "code", "flags", "url", "split", "number", "bar", "share", "decimal"]

#: Error messages and URLs are as long as others made them; the CSV files hold them whole.
MOST_CHARACTERS = 400

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's heading and what its cells are."""

    name: str
    kind: Kind = "text"
    about: str = ""  # shown on hovering over the heading
    menu: bool = False  # can be filtered by a menu of its values


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of plain data."""

    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    left_out: int = 0  # rows that were too many to be listed
    full_list: str = ""  # the file that has them

    def packed(self) -> dict[str, Any]:
        """The table by columns; a text that is often repeated stands there once.

        >>> Table(caption="", columns=(Column(name="a"),), rows=[["x"], ["x"], ["x"]]).packed()["cells"]
        [{'values': ['x'], 'index': [0, 0, 0]}]
        """
        columns: list[list[Cell]] = [[_plain(row[i]) for row in self.rows] for i in range(len(self.columns))]
        return {
            "caption": self.caption,
            "columns": [
                {"name": column.name, "kind": column.kind, "about": column.about, "menu": column.menu}
                for column in self.columns
            ],
            "length": len(self.rows),
            "cells": [_packed_column(column) for column in columns],
            "leftOut": self.left_out,
            "fullList": self.full_list,
        }


def _plain(cell: Cell) -> Cell:
    if not isinstance(cell, str):
        return cell
    text = _CONTROL.sub(" ", cell)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _packed_column(cells: list[Cell]) -> list[Cell] | dict[str, Any]:
    if not all(isinstance(cell, str) for cell in cells):
        return cells
    values = list(dict.fromkeys(cells))
    if len(values) > len(cells) / 2:
        return cells
    number_of = {value: number for number, value in enumerate(values)}
    return {"values": values, "index": [number_of[cell] for cell in cells]}


def as_script_data(data: Any) -> str:
    """JSON that can stand inside a ``<script>`` element: no ``<``, so no end tag and no comment.

    >>> as_script_data("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
