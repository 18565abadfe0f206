"""Everything that ``train.py`` prints: tables before and after training, and lines during it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from rich.console import Console
from rich.table import Table

from asl.contract.frame_store import SIGNER
from asl.contract.manifest import SPLITS
from asl.data.datamodule import ClipDataModule
from asl.data.frames.placement import HOST
from asl.data.framing import Framing
from asl.data.settings import DROP_TRAIN
from asl.data.split import CHOSEN_ON_TEST, WLASL_AUTHORS
from asl.messages import first_few, format_bytes
from asl.model.classifier import SignClassifier
from asl.model.weights import Loaded
from asl.training.batch_size import Trial
from asl.training.checkpoints import BEST, LastAndBest
from asl.training.config import TrainConfig
from asl.training.lr_finder import LearningRates

_PROTOCOL = f"{WLASL_AUTHORS}: {CHOSEN_ON_TEST}"
_CURVE_STEP = 6  # of the learning-rate finder's 100 steps each sixth is shown


@dataclass(frozen=True)
class Resumed:
    """From where a run is resumed, and what differs."""

    checkpoint: Path
    epoch: int  # number of finished epochs in it
    finished: bool  # no epoch is left to train
    changed: Sequence[str]  # see changed_settings()
    not_compared: Sequence[str]  # see not_compared()


class EpochLine(Callback):
    """Prints a line after each epoch: time, losses, val top-1.

    Args:
        checkpoints: knows the best accuracy so far.
        selection: the name of the figure that chooses the best epoch.
    """

    def __init__(self, checkpoints: LastAndBest, selection: str) -> None:
        self._checkpoints, self._selection = checkpoints, selection
        self._begin = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begin = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning runs checkpoint callbacks last, so best_score does not include this epoch yet.
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        name, top1 = self._selection, metrics[self._checkpoints.monitor]
        best = "  best so far" if top1 > self._checkpoints.best_score else ""
        pl_module.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  "
            f"{time.monotonic() - self._begin:.1f} s  train loss {metrics['train_loss_epoch']:.3f}  "
            f"{name} loss {metrics[f'{name}_loss']:.3f}  {name} top-1 {top1:.1%}{best}"
        )


class CompilationLines(Callback):
    """If the network is compiled, prints a line before the first step and its time after it."""

    def __init__(self) -> None:
        self._begin: float | None = None  # None: not compiled, or the time is already printed

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if getattr(pl_module, "compiled", False):
            self._begin = time.monotonic()
            pl_module.print(
                "compiling the network: the first step takes one or two minutes, later starts seconds"
            )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._begin is not None:
            pl_module.print(f"first step after {time.monotonic() - self._begin:.1f} s")
            self._begin = None


class EpochProgressBar(TQDMProgressBar):
    """Progress bar of the steps of an epoch. Epochs are counted from 1.

    Args:
        loss_every: steps between updates of the training loss.
    """

    def __init__(self, loss_every: int) -> None:
        super().__init__()
        self._loss_every = loss_every
        self._shown: dict[str, Any] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        # float(loss) waits for the device, so do it only in steps in which the loggers do so, too.
        if "train_loss" not in self._shown or trainer.global_step % self._loss_every == 0:
            loss = trainer.callback_metrics.get("train_loss_step")
            self._shown = {} if loss is None else {"train_loss": f"{float(loss):.3f}"}
        return self._shown


def print_start(
    config: TrainConfig,
    datamodule: ClipDataModule,
    module: SignClassifier,
    trainer: pl.Trainer,
    *,
    folder: Path,
    resumed: Resumed | None,
    not_compiled: str | None,
    tuned: str | None,
    loaded: Loaded,
    trial: Trial | None,
    unchecked: str | None,
) -> None:
    """Print a table before training: data, model, device, output folder, and warnings.

    Args:
        config: configuration of the run.
        datamodule: its placement has been decided.
        module: the classifier.
        trainer: Lightning's Trainer.
        folder: folder of the run's checkpoints.
        resumed: None for a new run.
        not_compiled: why training steps are not compiled. None if they are.
        tuned: how the network was changed for a GPU. None if it was not.
        loaded: what of the network was not loaded from ``model.weights``.
        trial: of ``trainer.batch=auto``. None if there was none.
        unchecked: why the clips of ``model.weights`` were not compared. None if they were.
    """
    counts = {split: len(datamodule.datasets[split]) for split in SPLITS}
    per_class = Counter(clip.label for clip in datamodule.datasets["train"].clips)
    absent = [gloss for label, gloss in enumerate(datamodule.glosses) if not per_class[label]]
    architecture = ", ".join(f"{name} {_plain(value)}" for name, value in config.model.architecture().items())
    start = f"resumed from {resumed.checkpoint}" if resumed else f"weights {config.model.weights or 'random'}"
    if loaded.new:
        start += ", new classifier" + (f" but for {loaded.kept} glosses in common" if loaded.kept else "")
    is_finished = resumed is not None and resumed.finished
    device = trainer.strategy.root_device
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    datasets = " + ".join(config.data.dataset_names(config.dataset.name))
    rows = {
        "data": f"{datasets}, {config.data.split_name} split: "
        + ", ".join(f"{n} {split}" for split, n in counts.items())
        + f" clips, {len(datamodule.glosses)} glosses, {_span(per_class.values())} training clips each"
        + (f"; {datamodule.num_left_out} clips of other glosses left out" * (datamodule.num_left_out > 0)),
        **({"protocol": _PROTOCOL} if config.data.split == WLASL_AUTHORS else {}),
        **_flags(datamodule),
        "batches": f"{config.data.batch_size} clips of {config.data.clip_len} frames, "
        f"{config.data.crop_size}×{config.data.crop_size}{_readers(datamodule)}"
        f"{_global_batch(config, trainer)}",
        **_trial(trial, counts["train"]),
        "frames": _frames(datamodule),
        "model": f"{config.model.name}, {architecture}, "
        f"{sum(p.numel() for p in module.model.parameters()):,} parameters, {start}",
        "device": f"{trainer.world_size} × {device.type} ({name}), {trainer.precision}{_more_gpus(trainer)}",
        "speed": _speed(config, not_compiled, tuned, cuda_graphs=module.cuda_graphs),
        "epochs": _epochs(config, resumed, trainer.world_size),
        "results": f"{folder}/",
    }
    attention = []
    if config.trainer.batch == "auto" and device.type != "cuda" and resumed is None:
        attention.append("trainer.batch=auto: there is no GPU, so data.batch_size is used")
    if config.optim.warmup_epochs >= config.trainer.max_epochs and not is_finished:
        attention.append(
            f"optim.warmup_epochs={config.optim.warmup_epochs:g} is not below trainer.max_epochs="
            f"{config.trainer.max_epochs}: the learning rate only rises"
        )
    if absent:
        named = first_few(gloss or "(no name)" for gloss in absent)
        attention.append(f"{len(absent)} glosses have no training clip and cannot be learnt: {named}")
    without_box = sum(not clip.box for clip in datamodule.clips)
    if config.data.crop == SIGNER and without_box:
        attention.append(
            f"data.crop=signer: {without_box:,} of {len(datamodule.clips):,} clips have no box of the signer "
            "and show the whole picture"
        )
    if config.data.crop != SIGNER and config.data.enlarge != Framing().enlarge:
        attention.append(f"data.enlarge={config.data.enlarge:g} has no effect without data.crop=signer")
    if not counts["test"]:
        attention.append("no test clips, so test accuracy will not be measured")
    if resumed and resumed.changed:
        used = (
            "no epoch is left to train with it" if is_finished else f"used from epoch {resumed.epoch + 1} on"
        )
        attention.append(f"changed since the checkpoint, {used}: {', '.join(resumed.changed)}")
    if resumed and not is_finished and not resumed.checkpoint.with_name(BEST).is_file():
        attention.append(
            f"{BEST} is missing beside the checkpoint: the best epoch from {resumed.epoch + 1} on is kept"
        )
    if resumed and resumed.not_compared:
        missing = ", ".join(resumed.not_compared)
        attention.append(
            f"the checkpoint is of an earlier version, which does not say {missing}: not compared"
        )
    if unchecked is not None:
        attention.append(f"{unchecked}: val and test clips may be among them")
    if attention:
        rows["attention"] = "; ".join(attention)
    _print_table("Training", rows)


def _trial(trial: Trial | None, train_clips: int) -> dict[str, str]:
    """The row of the table with what a trial step tells about the run. Empty if there was none."""
    if trial is None:
        return {}
    minutes = trial.seconds * (train_clips // trial.batch_size) / 60
    return {
        "trial": f"a step took {format_bytes(trial.num_bytes)} and {trial.seconds:.2f} s, not compiled: at "
        f"most about {minutes:.1f} min of steps an epoch"
    }


def _global_batch(config: TrainConfig, trainer: pl.Trainer) -> str:
    """The number of clips of an optimiser step, if it is not that of a batch."""
    factors = [
        *([f"{trainer.world_size} devices"] if trainer.world_size > 1 else []),
        *([f"{trainer.accumulate_grad_batches} batches"] if trainer.accumulate_grad_batches > 1 else []),
    ]
    if not factors:
        return ""
    clips = config.data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
    return f"; {clips} clips a step: {' × '.join(factors)}"


def _more_gpus(trainer: pl.Trainer) -> str:
    """How to use the GPUs of this machine that do not train. Empty if there are none."""
    more = torch.cuda.device_count() - trainer.num_devices
    if trainer.strategy.root_device.type != "cuda" or more < 1:
        return ""
    return f"; {more} more here: trainer=ddp uses all"


def _epochs(config: TrainConfig, resumed: Resumed | None, devices: int) -> str:
    """The number of epochs, and how they train."""
    trainer, optim = config.trainer, config.optim
    if resumed is not None and resumed.finished:
        done = "all done" if resumed.epoch == trainer.max_epochs else f"stopped early after {resumed.epoch}"
        return f"{trainer.max_epochs}, {done}: only {list(config.data.figures)[-1]} is measured"
    rate = f"peak learning rate {optim.scaled(devices).lr:g}"
    if devices > 1:
        rate += f" (optim.lr={optim.lr:g}, optim.scale_lr={optim.scale_lr})"
    parts = [f"{trainer.max_epochs}", config.loss.name, "AdamW", rate]
    if optim.freeze_epochs:
        parts.append(f"the first {optim.freeze_epochs} train only the classifier")
    if optim.layer_decay < 1:
        parts.append(f"times {optim.layer_decay:g} for each layer before the classifier")
    if optim.ema_decay is not None:
        parts.append(f"averaged weights (decay {optim.ema_decay:g})")
    if config.monitor is not None:
        parts.append(f"ends after {trainer.patience} without a better {config.monitor}")
    return ", ".join(parts)


def _flags(datamodule: ClipDataModule) -> dict[str, str]:
    """The row of the table with the number of clips of each split by flag. Empty if none is flagged."""
    if not any(datamodule.flagged.values()):
        return {}
    counts = "; ".join(
        f"{split} " + (", ".join(f"{n} {flag}" for flag, n in by_flag.items()) or "none")
        for split, by_flag in datamodule.flagged.items()
    )
    if datamodule.data.flags == DROP_TRAIN:
        return {"flags": f"{counts}; {datamodule.num_dropped} training clips are left out"}
    return {"flags": f"{counts}; training uses all (data.flags=drop_train: only clean clips)"}


def _readers(datamodule: ClipDataModule) -> str:
    """The number of reader processes, if there are any."""
    return f", {datamodule.num_workers} reader processes" if datamodule.num_workers else ""


def _frames(datamodule: ClipDataModule) -> str:
    """Where frames are kept: ``1,780 clips, 8.2 GB, in device memory (...)``."""
    clips, placement, store = datamodule.clips, datamodule.placement, datamodule.reader.store
    if placement is None or store is None:
        return "not stored: clips are decoded when they are drawn"
    size = store.num_bytes(clips) if placement.where == HOST else datamodule.frames_bytes()
    return f"{len(clips):,} clips, {format_bytes(size)}, {placement.reason}"


def print_result(metrics: dict[str, Any], folder: Path) -> None:
    """Print a table after training: accuracies and files.

    Args:
        metrics: content of ``metrics.json``.
        folder: folder of the run's checkpoints.
    """
    best = f"best epoch {metrics['best_epoch']} of {metrics['epochs']}"
    if metrics["protocol"] == WLASL_AUTHORS:
        rows = {
            WLASL_AUTHORS: f"{_accuracies(metrics, WLASL_AUTHORS, 'test')}, {best}",
            "protocol": _PROTOCOL,
        }
    else:
        test = "not measured: the manifest has no test clips"
        if metrics["test_top1"] is not None:
            test = _accuracies(metrics, "test", "test")
        rows = {"val": f"{_accuracies(metrics, 'val', 'val')}, {best}", "test": test}
    rows["files"] = f"{folder}/best.pt, last.pt, metrics.json, history.csv, input.html, logs/"
    _print_table("Result", rows)


def print_learning_rates(found: LearningRates, *, current: float) -> None:
    """Print the suggestion of the learning-rate finder and its curve.

    Args:
        found: its result.
        current: the configured ``optim.lr``.
    """
    steps = len(found.rates)
    if found.suggestion is None:
        suggestion = "none, because the loss does not fall"
    else:
        suggestion = f"optim.lr={found.suggestion:.2g}, where the loss falls steepest (now {current:g})"
    shown = range(0, steps, _CURVE_STEP)
    curve = "\n".join(f"{found.rates[step]:.1e}  loss {found.losses[step]:.3f}" for step in shown)
    _print_table("Learning rate", {"suggestion": suggestion, "curve": curve, "steps": f"{steps}"})


def _accuracies(metrics: dict[str, Any], figure: str, split: str) -> str:
    """The accuracies of a figure on a split, and those on its clean clips if these are fewer.

    Top-5 is left out if there are fewer glosses, as in an evaluation.
    """
    ks = (1, 5) if metrics["num_classes"] >= 5 else (1,)

    def accuracies(end: str) -> str:
        return ", ".join(f"top-{k} {metrics[f'{figure}_top{k}{end}']:.1%}" for k in ks)

    clips, clean = metrics["clips"][split], metrics["clean_clips"][split]
    text = f"{accuracies('')} of {clips} clips"
    if clean == clips or metrics[f"{figure}_top1_clean"] is None:
        return text
    return f"{text} ({accuracies('_clean')} of the {clean} clean ones)"


def _speed(config: TrainConfig, not_compiled: str | None, tuned: str | None, *, cuda_graphs: bool) -> str:
    """The optimisations of training steps that are in effect."""
    compiled = "compiled, with CUDA graphs" if cuda_graphs else "compiled"
    parts = [
        compiled if not_compiled is None else f"not compiled ({not_compiled})",
        "channels last" if config.model.channels_last else "channels first",
        *([tuned] if tuned else []),
    ]
    return ", ".join(parts)


def _plain(value: object) -> str:
    """A value as it is written on the command line, lists without brackets."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _span(counts: Collection[int]) -> str:
    """The least and the largest count: ``'4'`` or ``'4 to 9'``."""
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} to {most}"


def _print_table(title: str, rows: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(name, text.strip())
    Console().print(table)
