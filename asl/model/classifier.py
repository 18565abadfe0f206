"""The LightningModule: a network, its loss, its optimiser and what is measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from asl.evaluation.metrics import SplitMetrics

Batch = dict[str, Tensor]


class SignClassifier(pl.LightningModule):
    """Trains and measures ``model``.

    Logs ``train_loss`` and ``lr`` at steps, ``train_loss_epoch``, ``{val,test}_loss``, ``_top1`` and
    ``_top5`` (of as many glosses as there are, if fewer) at epochs.

    Args:
        model: ``(B, 3, T, H, W)`` -> ``(B, num_classes)``.
        loss: logits and labels -> scalar.
        num_classes: glosses.
        lr: peak learning rate.
        weight_decay: of AdamW; biases and norms are left out.
        warmup_epochs: of linear warm-up; the cosine falls to zero at the last step.
        seed: each epoch's dropout starts from (seed, epoch, rank), so that a resumed run repeats it.
        portable: plain numbers, strings and lists saved in every checkpoint under ``asl``.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        *,
        num_classes: int,
        lr: float,
        weight_decay: float,
        warmup_epochs: float,
        seed: int = 0,
        portable: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # 1.6 times the speed of the default layout under bf16 on an H100, 1.3 to 2 times on a CPU.
        self.model, self.loss = model.to(memory_format=torch.channels_last_3d), loss
        self._lr, self._weight_decay, self._warmup_epochs = lr, weight_decay, warmup_epochs
        self._seed, self._portable = seed, portable or {}
        self.val_metrics, self.test_metrics = SplitMetrics(num_classes), SplitMetrics(num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` -> logits ``(B, num_classes)``."""
        logits: Tensor = self.model(video.contiguous(memory_format=torch.channels_last_3d))
        return logits

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Not at the start of the epoch: creating the loader's iterator draws a number too, and the first
        # epoch of a resumed run creates it earlier than the same epoch of an uninterrupted one.
        if batch_idx == 0:
            torch.manual_seed(_mixed(self._seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self(batch["video"])
        loss: Tensor = self.loss(logits, batch["label"])
        if "mix" in batch:  # mixup: of two clips each
            loss = torch.lerp(self.loss(logits, batch["mixed_label"]), loss, batch["mix"])
        size = len(batch["label"])
        self.log(
            "train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True
        )
        self.log("lr", self.lr_schedulers().get_last_lr()[0], on_step=True)  # type: ignore[union-attr]
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, "test", self.test_metrics)

    def _measure(self, batch: Batch, split: str, metrics: SplitMetrics) -> None:
        logits, label = self(batch["video"]).float()[batch["counted"]], batch["label"][batch["counted"]]
        if len(label):
            metrics.update(logits, label, self.loss(logits, label))
        self.log(f"{split}_top1", metrics.top1, prog_bar=True, on_epoch=True)
        self.log(f"{split}_top5", metrics.top5, on_epoch=True)
        self.log(f"{split}_loss", metrics.loss, prog_bar=True, on_epoch=True)

    def configure_optimizers(self) -> Any:
        fused = self.device.type == "cuda" and self.trainer.precision != "16-mixed"  # clips its own gradients
        optimizer = AdamW(_decay_groups(self.model, self._weight_decay), lr=self._lr, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = round(self._warmup_epochs * steps / (self.trainer.max_epochs or 1))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": warmup_cosine(optimizer, warmup, steps), "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip for fused optimisers under autocast, as they may unscale gradients
        # themselves. Fused is only used without a scaler (see configure_optimizers), so these are true.
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        metrics = {
            name: float(value)
            for name, value in self.trainer.callback_metrics.items()
            if name.startswith("val_") or name == "train_loss_epoch"
        }
        # Checkpoints are written at the end of an epoch, before Lightning counts it as finished.
        checkpoint["asl"] = {**self._portable, "epoch": self.current_epoch + 1, "metrics": metrics}


def warmup_cosine(optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """Linear from ``1 / warmup`` to 1 over ``warmup`` steps, then a half cosine to 0 at ``steps``."""
    return LambdaLR(optimizer, lambda step: _factor(step, warmup, steps))


def _factor(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases and norms, which have one dimension, do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
