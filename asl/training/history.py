"""Write ``history.csv``: a row for each epoch, beside the checkpoints."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from asl.files import atomic_write_text

HISTORY = "history.csv"


class History(Callback):
    """Rewrites ``history.csv`` at the end of each epoch, with a row for each epoch so far.

    Checkpoints hold the rows, so that a resumed run has those of earlier epochs, and each epoch once. A run
    that resumes from a checkpoint without rows begins with its own first epoch.

    Args:
        folder: folder of the checkpoints.
        selection: begins the names of what is measured after each epoch.
    """

    def __init__(self, folder: Path, selection: str) -> None:
        self._selection = selection
        self._file = folder / HISTORY
        self._rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning runs checkpoint callbacks last, so checkpoints of this epoch have its row.
        metrics = trainer.callback_metrics
        measured = [f"{self._selection}_{name}" for name in ("loss", "top1", "top5")]
        self._rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "train_loss": float(metrics["train_loss_epoch"]),
                **{name: float(metrics[name]) for name in measured},
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
            }
        )
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in self._rows:
            writer.writerow({name: f"{value:.7g}" for name, value in row.items()})
        # Not flushed to the disk, for which the next epoch would wait: checkpoints have the rows, too.
        atomic_write_text(self._file, text.getvalue(), sync=False)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = state_dict["rows"]
