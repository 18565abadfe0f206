"""``history.csv``, which training writes beside its checkpoints: losses and accuracies of each epoch."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

HISTORY = "history.csv"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A row of the file. A value that is empty or not finite is None."""

    epoch: int  # from 1
    train_loss: float | None
    val_loss: float | None
    val_top1: float | None
    val_top5: float | None
    lr: float | None


def read_history(path: Path) -> tuple[Epoch, ...] | str:
    """The epochs in the file, or a text that says why there are none."""
    if not path.is_file():
        return f"There is no {path.name} beside the checkpoint."
    try:
        with path.open(newline="", encoding="utf-8") as file:
            epochs = tuple(
                Epoch(
                    epoch=int(row["epoch"]),
                    train_loss=_number(row["train_loss"]),
                    val_loss=_number(row["val_loss"]),
                    val_top1=_number(row["val_top1"]),
                    val_top5=_number(row["val_top5"]),
                    lr=_number(row["lr"]),
                )
                for row in csv.DictReader(file)
            )
    except KeyError as error:
        return f"{path.name} beside the checkpoint has no column {error}."
    except TypeError:
        return f"{path.name} beside the checkpoint has an incomplete row."
    except (OSError, ValueError, csv.Error) as error:
        return f"{path.name} beside the checkpoint cannot be read: {error}."
    return epochs or f"{path.name} beside the checkpoint has no epochs."


def _number(text: str) -> float | None:
    value = math.nan if text == "" else float(text)
    return value if math.isfinite(value) else None
