"""Lightning's learning-rate finder: try rising learning rates for some steps, and suggest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.tuner import Tuner

STEPS = 100  # Lightning's default
_SMOOTHING = 0.98  # of Lightning's mean of the losses


@dataclass(frozen=True)
class LearningRates:
    """The result of :func:`find_learning_rate`."""

    suggestion: float | None  # where the loss falls steepest; None if it does not fall
    rates: list[float]  # of each step
    losses: list[float]  # smoothed, of each step


def find_learning_rate(
    trainer: pl.Trainer, module: pl.LightningModule, datamodule: pl.LightningDataModule
) -> LearningRates:
    """Train with learning rates that rise from 1e-8 to 1 (Smith, WACV 2017), and then undo the training.

    The steps end early if the loss grows to four times the smallest one.

    Args:
        trainer: with ``max_epochs`` for at least :data:`STEPS` steps. It writes a checkpoint into its
            ``default_root_dir`` and removes it.
        module: the classifier.
        datamodule: its clips.
    """
    found: Any = Tuner(trainer).lr_find(module, datamodule=datamodule, num_training=STEPS, update_attr=False)
    found.results["loss"] = [
        _unbiased(loss, step) for step, loss in enumerate(found.results["loss"], start=1)
    ]
    return LearningRates(found.suggestion(), found.results["lr"], found.results["loss"])


def _unbiased(loss: float, step: int) -> float:
    """Correct the bias of Lightning's mean, which begins with 0: it divides by that of the step after."""
    return loss * (1 - _SMOOTHING ** (step + 1)) / (1 - _SMOOTHING**step)
