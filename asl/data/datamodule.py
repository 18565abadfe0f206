"""The manifest's clips as batches on the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from asl.contract.manifest import SPLITS, Clip, ManifestError
from asl.data.class_sampler import Draw, EvaluationSampler, TrainSampler
from asl.data.clip_dataset import Batch, ClipDataset, DrawnFrames, as_it_is
from asl.data.frames_on_device import FramesOnDevice
from asl.data.missing_frames import find_missing, make_missing
from asl.data.placement import AUTO, DEVICE, Placement, choose_placement, frames_bytes, free_memory
from asl.data.reader import ClipError
from asl.data.sampling import Sampling
from asl.data.stored_frames import FrameStore
from asl.data.transforms import Augmentation, augment, centre_crop, mix_clips
from asl.machine import available_cores

MAX_WORKERS = 16  # reader processes, where data.num_workers does not say


def label_map(clips: Sequence[Clip]) -> list[str]:
    """The gloss of each label. A label without any clip, which leaves a gap, has an empty gloss."""
    gloss_of = {clip.label: clip.gloss for clip in clips}
    return [gloss_of.get(label, "") for label in range(max(gloss_of, default=-1) + 1)]


class ClipDataModule(pl.LightningDataModule):
    """Train, val and test batches of a manifest.

    A batch on the device: ``video`` (B, C, T, H, W) float32 normalised, ``label`` (B,) int64,
    ``valid`` (B,) bool, False for clips that only fill a rank's last step up. Under mixup also
    ``mixed_label`` (B,) and ``mix`` (), the share of ``label``.

    With a store, :meth:`prepare_data` makes the frames that are missing and :meth:`setup` loads them all
    if they are to be in the device's memory; every rank loads them all onto its own device. Which frames
    are drawn depends on (seed, epoch, place in the epoch) alone, whatever reads them and wherever they lie.

    Args:
        clips: rows of the manifest.
        data_dir: what their paths are relative to.
        sampling: which frames are drawn.
        resize: height, width to which the reader scales.
        store: decoded frames; None: clips are decoded by decord whenever they are drawn.
        placement: of the store's frames: device, host or auto.
        reserve: bytes of a GPU's memory that training needs for itself.
        crop_size: height and width of what the model sees.
        augmentation: training only.
        balance: draw training clips with weight 1 / class frequency.
        batch_size: clips a step and rank.
        num_workers: reader processes; None: one a core, at most 16; 0: read in the training process.
        timeout_s: a batch that takes longer is an error, not a program that stands still.
        seed: of order, jitter and augmentation.

    Raises:
        ManifestError: no train clip, no val clip, or only one gloss.
        ClipError: files that are missing.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        data_dir: Path,
        sampling: Sampling,
        resize: tuple[int, int],
        crop_size: int,
        augmentation: Augmentation,
        store: FrameStore | None = None,
        placement: str = AUTO,
        reserve: int = 0,
        balance: bool = True,
        batch_size: int = 16,
        num_workers: int | None = None,
        timeout_s: float = 300.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.glosses = label_map(clips)
        self.sampling, self.resize, self.crop_size = sampling, resize, crop_size
        self.num_workers = min(MAX_WORKERS, available_cores()) if num_workers is None else num_workers
        self.datasets = {
            split: ClipDataset(
                [clip for clip in clips if clip.split == split],
                data_dir=data_dir,
                sampling=sampling,
                resize=resize,
                speed=augmentation.speed,
                store=store,
                num_workers=self.num_workers,
            )
            for split in SPLITS
        }
        for split, use in (("train", "learn from"), ("val", "choose the best epoch on")):
            if not len(self.datasets[split]):
                raise ManifestError(
                    f"the manifest has no {split} clip, so there is nothing to {use}. Put raw videos of "
                    f"the {split} split into paths.raw_dir and run: python preprocess.py"
                )
        if len(self.glosses) < 2:
            raise ManifestError(
                f"the manifest has one gloss only, {self.glosses[0]!r}: nothing to tell apart"
            )
        self._augmentation, self._balance = augmentation, balance
        self._augment: Callable[..., Tensor] = augment
        self._batch_size, self._seed, self._timeout_s = batch_size, seed, timeout_s
        self.store, self._asked, self._reserve = store, placement, reserve
        self.placement: Placement | None = None  # None: clips are decoded, or it is not decided yet
        self.frames_on_device: FramesOnDevice | None = None
        self._drawn: dict[str, DrawnFrames] = {}
        self._complete = False

    @property
    def clips(self) -> list[Clip]:
        """All clips, by split."""
        return [clip for dataset in self.datasets.values() for clip in dataset.clips]

    def frames_bytes(self) -> int:
        """What all frames take at the size at which they are drawn."""
        return 0 if self.store is None else frames_bytes(self.clips, self.store.spec, self.resize)

    def place(self, device: torch.device, *, processes: int = 1) -> None:
        """Decide where the store's frames are kept; before :meth:`setup`, which goes by it.

        Args:
            device: the one that trains.
            processes: training processes on this machine.

        Raises:
            ConfigError: they are to be in the device's memory and do not fit.
        """
        if self.store is None:
            return
        self.placement = choose_placement(
            self._asked,
            device_type=device.type,
            frames=self.frames_bytes(),
            free=free_memory(device),
            reserve=self._reserve,
            processes=processes if device.type == "cpu" else 1,
        )
        if self.placement.where == DEVICE:
            self.num_workers = 0

    def prepare_data(self) -> None:
        """Make the frames that are not there; in one process of a machine."""
        if self.store is None or self._complete:
            return
        files = [file for dataset in self.datasets.values() for file in dataset.files]
        folder = self.store.folder
        missing = find_missing(self.clips, files, folder=folder, spec=self.store.spec)
        make_missing(missing, folder=folder, timeout_s=self._timeout_s)
        self._complete = True

    def setup(self, stage: str | None = None) -> None:
        """Load the frames, if they are to be on the device."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if self.placement is None:
            self.place(device)
        if self.store is None or self.placement is None or self.placement.where != DEVICE or self._drawn:
            return
        begin, clips, spec = time.monotonic(), self.clips, self.store.spec
        frames = FramesOnDevice(
            clips,
            [self.store.path(clip) for clip in clips],
            [spec.count(clip.duration_s, clip.num_frames) for clip in clips],
            size=self.resize,
            device=device,
        )
        first = 0
        for split, dataset in self.datasets.items():
            speed = self._augmentation.speed
            self._drawn[split] = DrawnFrames(
                dataset.clips, frames, first=first, sampling=self.sampling, speed=speed
            )
            first += len(dataset)
        self.frames_on_device = frames
        if self.trainer is not None and self.trainer.is_global_zero:
            seconds = time.monotonic() - begin
            print(f"frames of {len(clips)} clips loaded in {seconds:.1f} s: {frames.num_bytes / 1e9:.2f} GB")

    def compile_augmentation(self) -> None:
        """Training clips are augmented by a few kernels instead of some thirty, each over all pixels."""
        self._augment = torch.compile(augment, dynamic=False)

    def release(self) -> None:
        """Give the frames' memory back, for the next job of a sweep."""
        self.frames_on_device, self._drawn = None, {}

    def train_dataloader(self) -> DataLoader[Batch]:
        labels = [clip.label for clip in self.datasets["train"].clips]
        sampler = TrainSampler(labels, balance=self._balance, seed=self._seed, **self._ranks())
        # A last batch of one or two clips would make poor batch statistics and a noisy step.
        return self._loader("train", sampler, drop_last=len(sampler) >= self._batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test")

    def video(self, batch: Batch) -> Tensor:
        """The frames of a batch of a loader, on its device: ``(B, T, H, W, C)`` uint8."""
        return batch["video"] if self.frames_on_device is None else self.frames_on_device[batch["frames"]]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Runs on the device: uint8 frames travel or lie there, four times fewer bytes than floats."""
        video = self.video(batch)
        uniforms, label = batch["uniforms"], batch["label"]
        ready = {"label": label, "valid": batch["valid"]}
        if self.trainer is None or not self.trainer.training:
            return {**ready, "video": centre_crop(video, crop_size=self.crop_size)}
        video = self._augment(video, uniforms, crop_size=self.crop_size, augmentation=self._augmentation)
        if self._augmentation.mixup:
            video, mix = mix_clips(video, uniforms, alpha=self._augmentation.mixup)
            ready |= {"mixed_label": label.flip(0), "mix": mix}
        return {**ready, "video": video}

    def explain(self, error: RuntimeError) -> ClipError | None:
        """An error that names the clip, if ``error`` is DataLoader's about a worker that hung or crashed."""
        if not str(error).startswith(("DataLoader timed out", "DataLoader worker")):
            return None
        reading = [line for dataset in self.datasets.values() for line in dataset.being_read()]
        named = "\n".join(f"  {line}" for line in reading) or "  (none)"
        return ClipError(
            f"{str(error).splitlines()[0]}\nClips that were being read:\n{named}\n"
            "Delete the one at fault and run: python preprocess.py; if the machine is merely slow, raise "
            f"reader.timeout_s ({self._timeout_s:g}); if it ran out of memory, lower data.num_workers "
            f"({self.num_workers})"
        )

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        sampler = EvaluationSampler(len(self.datasets[split]), **self._ranks())
        return self._loader(split, sampler, drop_last=False)

    def _ranks(self) -> dict[str, int]:
        if self.trainer is None:
            return {"rank": 0, "num_ranks": 1}
        return {"rank": self.trainer.global_rank, "num_ranks": self.trainer.world_size}

    def _loader(self, split: str, sampler: Sampler[Draw], *, drop_last: bool) -> DataLoader[Batch]:
        workers = self.num_workers
        options: dict[str, Any] = {"timeout": self._timeout_s, "persistent_workers": True} if workers else {}
        dataset: Dataset[Batch] = self.datasets[split]
        if self._drawn:
            dataset, options = self._drawn[split], {"collate_fn": as_it_is}
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=self._batch_size,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
