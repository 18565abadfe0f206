"""The LightningModule: trains a network with a loss and an optimiser, and measures it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from asl.model.backbone import Backbone
from asl.model.compiling import compile_parts
from asl.model.metrics import SplitMetrics
from asl.model.optimizer import OptimizerSettings, continue_schedule, warmup_cosine
from asl.model.ranks import share

Batch = dict[str, Tensor]


class SignClassifier(pl.LightningModule):
    """Trains and measures a network on the batches of :class:`~asl.data.datamodule.ClipDataModule`.

    Logs ``train_loss_step`` and ``lr`` after each step, and ``train_loss_epoch``, ``{val,test}_loss`` and
    ``{val,test}_{top1,top5,top1_clean,top5_clean}`` after each epoch (see :class:`SplitMetrics`). Another
    ``selection`` than ``val`` is named instead of it.

    Args:
        model: the network, ``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``.
        loss: logits ``(B, num_classes)`` and labels ``(B,)`` -> scalar.
        num_classes: number of glosses.
        optimizer: settings of the optimiser and of the learning rate schedule.
        channels_last: store parameters and clips in ``channels_last_3d`` memory format.
        seed: dropout of each epoch is seeded with (seed, epoch, rank), so that a resumed run repeats it.
        selection: begins the names of what is logged in validation.
        info: numbers, strings and lists that every checkpoint holds under the key ``asl``.
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
        selection: str = "val",
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # 1.6 times the speed of the default layout under bf16 on an H100, 1.3 to 2 times on a CPU.
        self._layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dim() == 5:  # not 2D convolutions, which have no such order
                tensor.data = tensor.data.contiguous(memory_format=self._layout)
        self.model, self.loss = model, loss
        self._compiled = self._cuda_graphs = False
        self._optimizer = optimizer
        self._backbone = Backbone(model) if optimizer.freeze_epochs else None
        self._seed, self._selection, self._info = seed, selection, info or {}
        self.val_metrics, self.test_metrics = SplitMetrics(num_classes), SplitMetrics(num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` -> logits ``(B, num_classes)``."""
        evaluates = self._compiled and not self.training
        with torch.compiler.set_stance("force_eager") if evaluates else nullcontext():
            logits: Tensor = self.model(video.contiguous(memory_format=self._layout))
        return logits

    @property
    def compiled(self) -> bool:
        """Whether training steps use compiled code."""
        return self._compiled

    @property
    def cuda_graphs(self) -> bool:
        """Whether the compiled code is recorded as CUDA graphs."""
        return self._cuda_graphs

    def compile_training(self, parts: Iterable[nn.Module], *, cuda_graphs: bool = False) -> None:
        """Use torch.compile for training steps. The first step then takes one or two minutes.

        Evaluation is not compiled: its last batch is smaller, and it was faster so on an H100 (979 clips/s,
        compiled 857 clips/s after 18 s of compilation). All training batches have one shape, so that a part
        is compiled once, and once more when it is unfrozen (``optim.freeze_epochs``).

        Args:
            parts: the modules of the network to compile, each by itself.
            cuda_graphs: record their kernels as CUDA graphs, in the second step.
        """
        compile_parts(parts, cuda_graphs=cuda_graphs)
        self._compiled, self._cuda_graphs = True, cuda_graphs

    @property
    def _accumulates(self) -> bool:
        """Whether an optimiser step adds the gradients of several batches."""
        return self.trainer.accumulate_grad_batches > 1

    @property
    def _frozen(self) -> bool:
        """Whether this epoch trains only the classifier."""
        return self.current_epoch < self._optimizer.freeze_epochs

    def on_train_start(self) -> None:
        if self.current_epoch == 0:
            return
        # Of the schedule in a checkpoint only the epoch counts: this run may have another peak or length.
        steps_per_epoch = int(self.trainer.estimated_stepping_batches) // (self.trainer.max_epochs or 1)
        scheduler: Any = self.lr_schedulers()
        continue_schedule(scheduler, lr=self._optimizer.lr, step=self.current_epoch * steps_per_epoch)

    def on_train_epoch_start(self) -> None:
        if self._backbone is not None:
            # DistributedDataParallel decides before the first step which parameters get gradients.
            backward = isinstance(self.trainer.model, DistributedDataParallel)
            self._backbone.freeze(self._frozen, backward=backward)
            if self._cuda_graphs and self.current_epoch == self._optimizer.freeze_epochs:
                torch.cuda.empty_cache()  # new graphs cannot use memory that PyTorch keeps for others

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self._backbone is not None and self._frozen:
            self._backbone.drop_gradients()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Seed at the first batch, not when the epoch starts: creating the loader's iterator draws a random
        # number, and a resumed run creates that of its first epoch earlier than an uninterrupted run does.
        if batch_idx == 0:
            torch.manual_seed(_combined_seed(self._seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self._cuda_graphs:
            if not self._accumulates:
                self.zero_grad()  # those of the last step, which this one overwrites
            torch.compiler.cudagraph_mark_step_begin()
        logits = self(batch["video"])
        loss: Tensor = self.loss(logits, batch["label"])
        if "mix" in batch:  # mixup: each clip is a blend of two
            loss = torch.lerp(self.loss(logits, batch["mixed_label"]), loss, batch["mix"])
        # Without prog_bar, for which Lightning would wait for the device in each step. Two calls, because
        # on_step=True with sync_dist=True would average over ranks in each step, not once per epoch.
        self.log("train_loss_step", loss, on_step=True, on_epoch=False)
        self.log(
            "train_loss_epoch",
            loss,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["label"]),
            sync_dist=True,
        )
        # A tensor on the host, because Lightning would copy a float to the device and wait for it there.
        rate = torch.tensor(self.lr_schedulers().get_last_lr()[0])  # type: ignore[union-attr]
        self.log("lr", rate, on_step=True)
        return loss

    def on_validation_start(self) -> None:
        # Each rank has trained with its own clips, so that the statistics of batch norms differ.
        share(self.model.buffers())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, self.val_metrics, last=batch_idx + 1 == self.trainer.num_val_batches[0])

    def on_validation_epoch_end(self) -> None:
        self._log_metrics(self._selection, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, self.test_metrics, last=batch_idx + 1 == self.trainer.num_test_batches[0])

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test", self.test_metrics)

    def _measure(self, batch: Batch, metrics: SplitMetrics, *, last: bool) -> None:
        logits, label, clean = self(batch["video"]).float(), batch["label"], batch["clean"]
        if last:  # no other batch has clips that do not count, and to look for them waits for the device
            counted = batch["valid"].nonzero().flatten()
            logits, label, clean = logits[counted], label[counted], clean[counted]
        if len(label):
            metrics.update(logits, label, self.loss(logits, label), clean)

    def _log_metrics(self, figure: str, metrics: SplitMetrics) -> None:
        for name, value in metrics.compute(self.device).items():
            self.log(f"{figure}_{name}", value)
        metrics.reset()

    def configure_optimizers(self) -> Any:
        # With loss scaling, a fused AdamW unscales gradients in its step, too late for clipping.
        fused = self.device.type == "cuda" and self.trainer.precision != "16-mixed"
        optimizer = self._optimizer.build(self.model, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = round(self._optimizer.warmup_epochs * steps / (self.trainer.max_epochs or 1))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": warmup_cosine(optimizer, warmup, steps), "interval": "step"},
        }

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        if not self._cuda_graphs:
            optimizer.zero_grad()
        elif self._accumulates:  # otherwise training_step has dropped them, before the forward pass
            # The next batch overwrites gradients that lie in the memory of graphs. So each parameter gets
            # zeros of its own, to which all batches add.
            optimizer.zero_grad(set_to_none=False)
            for parameter in self.model.parameters():
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Overridden because Lightning refuses to clip gradients of a fused optimiser under autocast: they may
        # be scaled. Here a fused one is used only without loss scaling (see configure_optimizers).
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        metrics = {
            name: float(value)
            for name, value in self.trainer.callback_metrics.items()
            if name.startswith(f"{self._selection}_") or name == "train_loss_epoch"
        }
        # Checkpoints are written at the end of an epoch, before Lightning increments current_epoch.
        checkpoint["asl"] = {**self._info, "epoch": self.current_epoch + 1, "metrics": metrics}


def _combined_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
