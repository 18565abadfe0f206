"""The configuration of ``python train.py``, composed of the settings of each part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.contract.frame_store import FrameSettings
from asl.contract.paths import Paths
from asl.data.augmentation import Augmentation
from asl.data.readers.base import ReaderSettings
from asl.data.settings import DataSettings
from asl.datasets.base import SignDataset
from asl.launch.settings import LauncherSettings
from asl.model.losses.base import LossSettings
from asl.model.networks.base import NetworkSettings
from asl.model.optimizer import OptimizerSettings
from asl.training.trainer import LoggerSettings, TrainerSettings


@dataclass(kw_only=True)
class TrainConfig:
    """All keys of ``python train.py``."""

    paths: Paths = field(default_factory=Paths)
    dataset: SignDataset = field(default_factory=SignDataset)
    data: DataSettings = field(default_factory=DataSettings)
    reader: ReaderSettings = field(default_factory=ReaderSettings)
    frames: FrameSettings = field(default_factory=FrameSettings)
    augment: Augmentation = field(default_factory=Augmentation)
    loss: LossSettings = field(default_factory=LossSettings)
    model: NetworkSettings = field(default_factory=NetworkSettings)
    optim: OptimizerSettings = field(default_factory=OptimizerSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logger: LoggerSettings = field(default_factory=LoggerSettings)
    launcher: LauncherSettings = field(default_factory=LauncherSettings)
    resume: str | None = setting(None, "checkpoint file to resume from; auto: last.pt if it exists")
    find_lr: bool = setting(
        False, "try rising learning rates for 100 steps, print a suggestion for optim.lr, and end"
    )
    show: bool = setting(
        False, "write only input.html, clips as the network gets them, into paths.checkpoint_dir; and end"
    )
    seed: int = setting(0, "seed of initial weights, order of clips, jitter, augmentation and dropout", ge=0)

    @property
    def monitor(self) -> str | None:
        """The name of what early stopping watches. None without it."""
        watched = self.trainer.early_stopping
        return watched and watched.replace("val", self.data.selection, 1)

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting of one group that contradicts another group."""
        if self.find_lr and self.resume is not None:
            yield "find_lr=true: starts from model.weights, so resume must be null"
        if self.find_lr and self.show:
            yield "find_lr=true show=true: choose one of them"
        if self.find_lr and self.trainer.batch == "auto":
            yield "find_lr=true: is for one batch size, so set data.batch_size and trainer.batch=fixed"
        if self.find_lr and self.optim.scale_lr != "none":
            yield "find_lr=true: finds the rate of a step as it is, so set optim.scale_lr=none"
        if self.find_lr and self.optim.layer_decay < 1:
            yield "find_lr=true: tries one rate for all layers, so set optim.layer_decay=1"
        yield from self.reader.problems_with(self.data, self.frames)
        for key, least in (("clip_len", self.model.min_clip_len), ("crop_size", self.model.min_crop_size)):
            if getattr(self.data, key) < least:
                yield f"data.{key}={getattr(self.data, key)}: model={self.model.name} needs at least {least}"
