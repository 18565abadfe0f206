"""``history.csv``, which training writes beside its checkpoints: a row for each epoch."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class History:
    """What was measured after each epoch."""

    epochs: tuple[int, ...]  # from 1, ascending
    values: dict[str, tuple[float | None, ...]]  # by column; None: the value is missing or not finite


def read_history(path: Path) -> History | str:
    """The history in the file, or a text that says why there is none."""
    if not path.is_file():
        return f"There is no {path.name} beside the checkpoint."
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = [name for name in reader.fieldnames or () if name != "epoch"]
        history = History(
            tuple(int(row["epoch"]) for row in rows),
            {name: tuple(_number(row[name]) for row in rows) for name in columns},
        )
    except KeyError as error:
        return f"{path.name} beside the checkpoint has no column {error}."
    except (OSError, ValueError, csv.Error) as error:
        return f"{path.name} beside the checkpoint cannot be read: {error}."
    return history if rows else f"{path.name} beside the checkpoint has no epochs."


def _number(text: str | None) -> float | None:
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None
