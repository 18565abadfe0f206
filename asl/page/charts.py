"""Charts as SVG paths, one path per series, so that a chart of 2,000 columns stays small.

A column is 1 unit wide. Heights are shares of :data:`HEIGHT`, which stands for the highest tick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

#: Height of a chart in SVG units.
HEIGHT = 100

#: Charts with more columns have no gaps and no whiskers: a column is only a few pixels wide.
MAX_WIDE_COLUMNS = 150

#: Charts with at most as many columns name each one on the axis.
MAX_NAMED_COLUMNS = 12

#: Ticks for shares, whose highest is 1.
SHARE_TICKS = ("0 %", "25 %", "50 %", "75 %", "100 %")

_GAP = 0.12  # between bars, in units


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a chart draws in one colour."""

    name: str  # for the key
    path: str  # SVG path data
    colour: str  # a class of base.css: blue, amber, teal, grey, or a split
    style: Literal["bars", "line", "guide", "whiskers", "band"] = "bars"  # a class of base.css, too


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Series over columns, of which the reader selects one to read it."""

    title: str
    unit: str = "a bar"  # what a column is
    series: tuple[Series, ...]
    labels: tuple[str, ...]  # text of each column
    ticks: tuple[str, ...]  # of the vertical axis, evenly spaced from the bottom to the top
    axis: tuple[str, ...]  # texts below the chart, from left to right: of each column, or spread

    @property
    def columns(self) -> int:
        """The number of columns."""
        return len(self.labels)


def bar(x: int, low: float, high: float, *, columns: int) -> str:
    """Path data of a bar in column ``x`` of ``columns``; ``low`` and ``high`` are shares of the height."""
    gap = _GAP if columns <= MAX_WIDE_COLUMNS else 0
    return f"M{x + gap / 2:g} {_y(low)}h{1 - gap:g}V{_y(high)}h{gap - 1:g}z"


def whisker(x: int, low: float, high: float) -> str:
    """Path data of a vertical line in the middle of column ``x``."""
    return f"M{x + 0.5:g} {_y(low)}V{_y(high)}"


def level(x: int, height: float, *, columns: int = 1) -> str:
    """Path data of a horizontal line over ``columns`` columns from ``x`` on."""
    return f"M{x} {_y(height)}h{columns}"


def line(heights: Sequence[float | None]) -> str:
    """Path data of a line through the middles of columns, with a gap where a value is unknown.

    A value between two gaps is a short dash.

    >>> line([0.5, 1.0, None, 0.25])
    'M0.5 50L1.5 0M3.35 75h0.3'
    """
    path = ""
    around = [None, *heights, None]
    for x, (before, height, after) in enumerate(zip(around, heights, around[2:], strict=False)):
        if height is None:
            continue
        if before is None and after is None:
            path += f"M{x + 0.35:g} {_y(height)}h0.3"
        else:
            path += f"{'M' if before is None else 'L'}{x + 0.5:g} {_y(height)}"
    return path


def _y(height: float) -> str:
    return f"{HEIGHT * (1 - height):.4g}"


def round_ticks(largest: float, *, least_step: float = 0.0) -> tuple[float, ...]:
    """Up to five round numbers from 0 to at least ``largest``, which is positive.

    >>> round_ticks(47), round_ticks(0.7), round_ticks(1, least_step=1)
    ((0.0, 20.0, 40.0, 60.0), (0.0, 0.2, 0.4, 0.6, 0.8), (0.0, 1.0))
    """
    wanted = max(largest / 4, least_step)
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= wanted)
    count = math.ceil(largest / step * (1 - 1e-9))
    return tuple(round(i * step, 12) for i in range(count + 1))


def tick_texts(ticks: Iterable[float]) -> tuple[str, ...]:
    """Numbers as the vertical axis shows them: ``0.2``, ``1,500``."""
    return tuple(f"{tick:,.12g}" for tick in ticks)


def isolated(text: str) -> str:
    """Text whose writing direction does not move the numbers that follow it."""
    return f"\u2068{text}\u2069"
