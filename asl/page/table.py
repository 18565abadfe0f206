"""Tables of a page as compact data for its script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Cell = str | int | float | None

#: How a column is shown, sorted and aligned. ``bar`` is a number and a bar of its share of the column's
#: largest number; ``share`` is a number from 0 to 1, shown in percent with a bar, ``percent`` without one;
#: ``words`` is text that may wrap; ``flags`` are words, each shown as a label; ``url`` is a link if it is
#: http or https, otherwise text.
Kind = Literal[
    "text", "words", "code", "flags", "url", "split", "number", "bar", "share", "percent", "decimal"
]

#: Longer error messages and URLs are shortened; the CSV files hold them whole.
MAX_CHARACTERS = 400

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's heading and the kind of its cells."""

    name: str
    kind: Kind = "text"
    tooltip: str = ""  # of the heading
    menu: bool = False  # whether a menu of its values filters the table


@dataclass(frozen=True, kw_only=True)
class Table:
    """A caption, columns, and rows of plain data."""

    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    left_out: int = 0  # how many further rows are not listed
    full_list: str = ""  # the file that lists all of them

    def packed(self) -> dict[str, Any]:
        """The table by columns, for JSON. A column of repeated texts holds each text once, and indices.

        >>> Table(caption="", columns=(Column(name="a"),), rows=[["x"], ["x"], ["x"]]).packed()["cells"]
        [{'values': ['x'], 'index': [0, 0, 0]}]
        """
        columns: list[list[Cell]] = [[_plain(row[i]) for row in self.rows] for i in range(len(self.columns))]
        return {
            "caption": self.caption,
            "columns": [
                {"name": column.name, "kind": column.kind, "tooltip": column.tooltip, "menu": column.menu}
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
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _packed_column(cells: list[Cell]) -> list[Cell] | dict[str, Any]:
    if not all(isinstance(cell, str) for cell in cells):
        return cells
    values = list(dict.fromkeys(cells))
    if len(values) > len(cells) / 2:
        return cells
    index_of = {value: index for index, value in enumerate(values)}
    return {"values": values, "index": [index_of[cell] for cell in cells]}
