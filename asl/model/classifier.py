"""The LightningModule: a network, its loss, its optimiser and what is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from asl.evaluation.metrics import SplitMetrics
from asl.model.optimizer import OptimizerSettings, warmup_cosine

Batch = dict[str, Tensor]


class SignClassifier(pl.LightningModule):
    """Trains and measures ``model``.

    Logs ``train_loss_step`` and ``lr`` at steps, ``train_loss_epoch``, ``{val,test}_loss``, ``_top1`` and
    ``_top5`` (of as many glosses as there are, if fewer) at epochs.

    Args:
        model: ``(B, 3, T, H, W)`` -> ``(B, num_classes)``.
        loss: logits and labels -> scalar.
        num_classes: glosses.
        optimizer: AdamW's settings and the schedule's.
        channels_last: keep parameters and clips in channels-last order.
        seed: each epoch's dropout starts from (seed, epoch, rank), so that a resumed run repeats it.
        portable: plain numbers, strings and lists saved in every checkpoint under ``asl``.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        *,
        num_classes: int,
        optimizer: OptimizerSettings,
        channels_last: bool = True,
        seed: int = 0,
        portable: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # 1.6 times the speed of the default layout under bf16 on an H100, 1.3 to 2 times on a CPU.
        self._layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dim() == 5:  # not 2D convolutions, which have no such order
                tensor.data = tensor.data.contiguous(memory_format=self._layout)
        self.model, self.loss = model, loss
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._optimizer = optimizer
        self._seed, self._portable = seed, portable or {}
        self.val_metrics, self.test_metrics = SplitMetrics(num_classes), SplitMetrics(num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` -> logits ``(B, num_classes)``."""
        network = self._compiled if self.training and self._compiled is not None else self.model
        logits: Tensor = network(video.contiguous(memory_format=self._layout))
        return logits

    @property
    def compiled(self) -> bool:
        """Whether training steps go through torch.compile."""
        return self._compiled is not None

    def compile_training(self) -> None:
        """Training steps go through torch.compile from now on; the first one takes a minute.

        Training batches have one shape, so it compiles once. Evaluation stays as it is: its last batch
        is smaller, and on an H100 it was quicker so (979 clips/s; compiled 857, after 18 s of compiling).
        """
        torch.compiler.reset()  # or the earlier jobs of a sweep count towards the limit of recompilations
        # The method and not the module, whose names in checkpoints would change.
        self._compiled = torch.compile(self.model.forward, dynamic=False)

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
        # Not for the progress bar: Lightning would wait for the device in each step to have a number. And
        # averaged over ranks once an epoch, not in each step.
        self.log("train_loss_step", loss, on_step=True, on_epoch=False)
        self.log(
            "train_loss_epoch",
            loss,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["label"]),
            sync_dist=True,
        )
        # A number would be copied to the device, and Python would wait there for the whole forward pass.
        rate = torch.tensor(self.lr_schedulers().get_last_lr()[0])  # type: ignore[union-attr]
        self.log("lr", rate, on_step=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, "test", self.test_metrics)

    def _measure(self, batch: Batch, split: str, metrics: SplitMetrics) -> None:
        logits, label = self(batch["video"]).float()[batch["valid"]], batch["label"][batch["valid"]]
        if len(label):
            metrics.update(logits, label, self.loss(logits, label))
        self.log(f"{split}_top1", metrics.top1, on_epoch=True)
        self.log(f"{split}_top5", metrics.top5, on_epoch=True)
        self.log(f"{split}_loss", metrics.loss, on_epoch=True)

    def configure_optimizers(self) -> Any:
        # With loss scaling a fused AdamW unscales the gradients itself, after they were to be clipped.
        fused = self.device.type == "cuda" and self.trainer.precision != "16-mixed"
        optimizer = self._optimizer.build(self.model, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = round(self._optimizer.warmup_epochs * steps / (self.trainer.max_epochs or 1))
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


def _mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
