"""Exponential moving average (EMA) of the weights."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from asl.model.ranks import share


class AveragedWeights(WeightAveraging):
    """Averages the weights over optimiser steps, and measures and saves the average.

    After each step, ``average = decay * average + (1 - decay) * weights``; the first step begins with the
    weights. Buffers are averaged likewise, so that validation has batch-norm statistics that fit the average.
    In checkpoints, ``state_dict`` is the average, and ``current_model_state`` are the weights with which
    training goes on.

    It is Lightning's ``EMAWeightAveraging`` with one operation for all tensors instead of one for each.

    Args:
        decay: between 0 and 1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device  # Lightning moves the module there later
        super().setup(trainer, pl_module, stage)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._average_model is not None:
            share(self._average_model.buffers())  # averages of the ranks' own batch-norm statistics

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Before the test, Lightning would replace the average that it has loaded by the weights.
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
