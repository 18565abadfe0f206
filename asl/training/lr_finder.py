"""Lightning's learning-rate finder: train with rising learning rates for some steps, and suggest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.tuner import Tuner

STEPS = 100  # Lightning's default
_LOWEST, _HIGHEST = 1e-6, 1.0  # AdamW's learning rates lie well within
_SMOOTHING = 0.98  # of Lightning's mean of the losses
_SPAN = 10  # steps over which a slope is measured; from one to the next the mean follows the batch
_SKIPPED = 10  # steps at the start, of which the mean says little; as in Lightning


@dataclass(frozen=True)
class LearningRates:
    """The result of :func:`find_learning_rate`."""

    suggestion: float | None  # see suggest_learning_rate()
    rates: list[float]  # of each step
    losses: list[float]  # smoothed, of each step


def find_learning_rate(
    trainer: pl.Trainer, module: pl.LightningModule, datamodule: pl.LightningDataModule
) -> LearningRates:
    """Train with learning rates that rise from 1e-6 to 1 (Smith, WACV 2017), and then undo the training.

    The steps end early if the loss grows to a multiple of the smallest one.

    Args:
        trainer: with ``max_epochs`` for at least :data:`STEPS` steps. It writes a checkpoint into its
            ``default_root_dir`` and removes it.
        module: the classifier.
        datamodule: its clips.
    """
    found: Any = Tuner(trainer).lr_find(
        module,
        datamodule=datamodule,
        min_lr=_LOWEST,
        max_lr=_HIGHEST,
        num_training=STEPS,
        update_attr=False,
    )
    rates = found.results["lr"]
    losses = [_unbiased(loss, step) for step, loss in enumerate(found.results["loss"], start=1)]
    return LearningRates(suggest_learning_rate(rates, losses), rates, losses)


def suggest_learning_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The learning rate around which the loss falls steepest, over the logarithm of the rate.

    Over the rate itself, as Lightning has it, noise at the lowest rates counts most. A slope is measured over
    :data:`_SPAN` steps.

    Args:
        rates: rising by equal factors.
        losses: smoothed, of each rate.

    Returns:
        None if there are too few steps, or the loss never falls.
    """
    used = np.array(losses[_SKIPPED:])
    if len(used) <= _SPAN:
        return None
    slopes = np.nan_to_num(used[_SPAN:] - used[:-_SPAN], nan=np.inf)
    steepest = int(slopes.argmin())
    return rates[_SKIPPED + steepest + _SPAN // 2] if slopes[steepest] < 0 else None


def _unbiased(loss: float, step: int) -> float:
    """Correct the bias of Lightning's mean, which begins with 0: it divides by that of the step after."""
    return loss * (1 - _SMOOTHING ** (step + 1)) / (1 - _SMOOTHING**step)
