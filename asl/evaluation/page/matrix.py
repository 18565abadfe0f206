"""The confusion matrix as SVG paths of the cells that have clips, so that 2,000 glosses stay small."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asl.evaluation.confusion import ClassResult, Confusion
from asl.page.charts import MAX_WIDE_COLUMNS

#: Cells are drawn in as many shades, by their share of the gloss's clips.
SHADES = 4

_GAP = 0.06  # between cells, in cells


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Clips by gloss (rows) and by the gloss that they are taken for (columns)."""

    glosses: tuple[str, ...]  # of rows and columns: those with clips or predictions, by name
    clips: tuple[int, ...]  # of each gloss
    cells: tuple[tuple[int, int, int], ...]  # row, column, clips; only cells with clips

    @classmethod
    def of(cls, classes: Sequence[ClassResult], confusions: Sequence[Confusion]) -> Matrix:
        """The matrix of one evaluation."""
        clips = {one.gloss: one.clips for one in classes}
        glosses = sorted(clips.keys() | {pair.predicted for pair in confusions}, key=str.casefold)
        index = {gloss: i for i, gloss in enumerate(glosses)}
        right = [(index[one.gloss], index[one.gloss], one.correct) for one in classes if one.correct]
        wrong = [(index[pair.gloss], index[pair.predicted], pair.clips) for pair in confusions]
        return cls(
            glosses=tuple(glosses),
            clips=tuple(clips.get(gloss, 0) for gloss in glosses),
            cells=tuple(sorted(right + wrong)),
        )

    @property
    def is_dense(self) -> bool:
        """Whether cells are only a few pixels wide, so that there is no gap between them."""
        return len(self.glosses) > MAX_WIDE_COLUMNS

    @property
    def paths(self) -> dict[str, str]:
        """SVG path data by CSS classes: ``right shade-4``. A cell is 1 unit wide and high."""
        gap = 0 if self.is_dense else _GAP
        side = 1 - gap
        paths: dict[str, str] = defaultdict(str)
        for row, column, clips in self.cells:
            shade = math.ceil(SHADES * clips / self.clips[row])
            kind = "right" if row == column else "wrong"
            paths[f"{kind} shade-{shade}"] += (
                f"M{column + gap / 2:g} {row + gap / 2:g}h{side:g}v{side:g}h-{side:g}z"
            )
        return dict(sorted(paths.items()))

    @property
    def data(self) -> dict[str, Any]:
        """The matrix for the page's script."""
        return {
            "glosses": self.glosses,
            "clips": self.clips,
            "cells": [number for cell in self.cells for number in cell],
        }
