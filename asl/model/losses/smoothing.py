"""Cross entropy with label smoothing: over all glosses alike, or by their similarity."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asl.config.setting import ConfigError
from asl.messages import first_few

_LARGEST = 1e30  # the sum of a row is finite in float32


class SmoothedCrossEntropy(nn.CrossEntropyLoss):
    """``torch.nn.CrossEntropyLoss``, whose label smoothing may follow the similarity of classes.

    Args:
        label_smoothing: share of the target that is spread over all classes, or over the similar ones.
        similarity: ``(C, C)`` float, at least 0. The row of the true class says how its share is spread over
            the other classes: in proportion, and evenly if all are 0. None: evenly over all classes, the true
            one included.
        reduction: ``mean`` over the batch, or ``none``.
    """

    def __init__(
        self, *, label_smoothing: float, similarity: Tensor | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(label_smoothing=label_smoothing, reduction=reduction)
        self.targets: Tensor | None
        targets = None if similarity is None else _targets(similarity, label_smoothing)
        self.register_buffer("targets", targets, persistent=False)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits ``(B, C)`` and labels ``(B,)`` int64 -> ``()``, or ``(B,)`` without reduction."""
        if self.targets is None:
            return super().forward(logits, label)
        return F.cross_entropy(logits, self.targets[label], reduction=self.reduction)


def _targets(similarity: Tensor, label_smoothing: float) -> Tensor:
    """The target ``(C, C)`` of each class."""
    own = torch.eye(len(similarity))
    weights = similarity.masked_fill(own > 0, 0)
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, 1 - own)
    return (1 - label_smoothing) * own + label_smoothing * weights / weights.sum(dim=1, keepdim=True)


def read_similarity(file: Path, glosses: Sequence[str]) -> Tensor:
    """Read the similarity of glosses from a square CSV file, with a gloss before each row and column.

    The file may have further glosses, and rows and columns in any order.

    Args:
        file: the CSV file, UTF-8.
        glosses: by label.

    Returns:
        ``(C, C)`` float32 in the order of ``glosses``; each row is that of a true gloss.

    Raises:
        ConfigError: the file cannot be read, is not square, lacks a gloss, or holds anything but numbers
            from 0 beside the diagonal, which is not read.
    """
    where = f"loss.similarity={file}"
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            header, *rows = [row for row in csv.reader(text) if any(row)] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{where}: cannot be read: {error}") from error
    columns, names = header[1:], [row[0] for row in rows]
    ragged = [row[0] for row in rows if len(row) != len(header)]
    twice = [name for of_axis in (columns, names) for name, count in Counter(of_axis).items() if count > 1]
    alone = sorted(set(columns) ^ set(names))
    problem = None
    if twice:
        problem = f"a gloss has several rows or columns: {first_few(twice)}"
    elif alone:
        problem = f"a gloss has a row or a column, not both: {first_few(alone)}"
    elif ragged:
        problem = f"not {len(columns)} values in the row of {first_few(ragged)}"
    elif missing := [gloss for gloss in glosses if gloss not in columns]:
        problem = f"{len(missing)} of {len(glosses)} glosses are missing: {first_few(missing)}"
    if problem is not None:
        raise ConfigError(
            f"{where}: {problem}. It must be a square table, separated by commas, with the glosses in its "
            "first row and its first column"
        )
    cells = {name: dict(zip(columns, row[1:], strict=True)) for name, row in zip(names, rows, strict=True)}
    for name in glosses:
        cells[name][name] = "1"  # not read, so that it may be empty
    for row in glosses:
        for column in glosses:
            if not 0 <= _number(cells[row][column]) <= _LARGEST:
                raise ConfigError(
                    f"{where}: row {row}, column {column}: {cells[row][column]!r} must be a number from 0 to "
                    f"{_LARGEST:g}; set negative cosines to 0"
                )
    return torch.tensor([[float(cells[row][column]) for column in glosses] for row in glosses])


def _number(cell: str) -> float:
    """The number in a cell; NaN if it is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan
