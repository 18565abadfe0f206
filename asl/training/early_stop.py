"""End a run when its epochs no longer get better."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping


class EarlyStop(EarlyStopping):
    """Ends training after ``patience`` epochs without a better ``monitor``.

    Checkpoints hold the count, so that a resumed run stops where an uninterrupted one does, and one that has
    stopped trains no further epoch. The patience is that of this run, not that of the checkpoint.

    Args:
        monitor: name of an accuracy or of a loss, which is better if it is smaller.
        patience: number of epochs.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        # Without check_finite: a loss that is not finite is one that is not better.
        mode = "min" if monitor.endswith("_loss") else "max"
        super().__init__(monitor, patience=patience, mode=mode, check_finite=False)

    def has_stopped(self, checkpoint: dict[str, Any]) -> bool:
        """Whether a run that is resumed from a checkpoint trains no further epoch."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        return state is not None and state["wait_count"] >= self.patience

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.should_stop:
            pl_module.print(f"{self.wait_count} epochs without a better {self.monitor}: training ends")
