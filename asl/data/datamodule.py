"""The manifest's clips as batches on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from asl.contract.frame_store import FrameSettings
from asl.contract.label_map import check_labels, label_map_path, read_label_map
from asl.contract.manifest import SPLITS, Clip, ManifestError, read_manifest
from asl.data.augmentation import Augmentation
from asl.data.class_sampler import Draw, EvaluationSampler, TrainSampler
from asl.data.clip_dataset import Batch, ClipDataset, FrameIndexDataset, already_a_batch
from asl.data.clip_files import ClipError
from asl.data.frames_on_device import FramesOnDevice
from asl.data.placement import DEVICE, Placement, choose_placement, frames_bytes, free_memory
from asl.data.readers.base import ReaderSettings
from asl.data.readers.frames import FramesReaderSettings
from asl.data.settings import DataSettings
from asl.data.split import split_clips
from asl.data.transforms import augment, centre_crop, mix_clips
from asl.machine import available_cores
from asl.messages import format_bytes, listed_lines

MAX_WORKERS = 16  # reader processes, where data.num_workers does not say


class ClipDataModule(pl.LightningDataModule):
    """Train, val and test batches of a manifest, for asl's own training or any Lightning Trainer.

    A batch on the device: ``video`` (B, C, T, H, W) float32 normalised, ``label`` (B,) int64, ``valid`` (B,)
    bool, False for clips that are repeated to fill a rank's last step. Under mixup also ``mixed_label``
    (B,) and ``mix`` (), the share of ``label``.

    :meth:`prepare_data` decodes the frames that are missing, :meth:`setup` loads all frames if they are to
    lie in the device's memory; every rank loads them onto its own device. Which frames are drawn depends on
    (seed, epoch, position in the epoch) alone, whatever reads them and wherever they lie.

    Args:
        manifest: written by ``preprocess.py``; the label map lies beside it.
        data: which clips and frames, and how many at once; its ``manifest`` is not read.
        reader: how frames are read.
        frames: which frames are kept beforehand.
        augmentation: of training clips.
        data_dir: paths in the manifest are relative to it. None: the folder above the manifest's.
        frames_dir: where decoded frames are kept. None: ``frames`` in ``data_dir``.
        reserve: bytes of a GPU's memory that training needs beside the frames. None: half of what is free.
        seed: of order, jitter and augmentation.

    Raises:
        ManifestError: the manifest cannot be read, or has no train clip, no val clip, or only one gloss.
        LabelMapError: there is no label map, or it does not fit the manifest.
        ClipError: files that are missing.
    """

    def __init__(
        self,
        manifest: Path | str,
        *,
        data: DataSettings | None = None,
        reader: ReaderSettings | None = None,
        frames: FrameSettings | None = None,
        augmentation: Augmentation | None = None,
        data_dir: Path | str | None = None,
        frames_dir: Path | str | None = None,
        reserve: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.data = data or DataSettings()
        self.manifest = Path(manifest)
        self.glosses, clips = _read(self.manifest, self.data)
        self._reader_settings = reader or FramesReaderSettings()
        self._augmentation = augmentation or Augmentation()
        self._reserve, self._seed = reserve, seed

        data_dir = self.manifest.parent.parent if data_dir is None else Path(data_dir)
        frames_dir = data_dir / "frames" if frames_dir is None else Path(frames_dir)
        self.reader = self._reader_settings.build(frames or FrameSettings(), frames_dir)
        workers = self.data.num_workers
        self.num_workers = min(MAX_WORKERS, available_cores()) if workers is None else workers
        self.datasets = {
            split: ClipDataset(
                [clip for clip in clips if clip.split == split],
                data_dir=data_dir,
                reader=self.reader,
                sampling=self.data,
                size=self.data.size,
                speed=self._augmentation.speed,
                num_workers=self.num_workers,
            )
            for split in SPLITS
        }
        self._augment: Callable[..., Tensor] = augment
        self.placement: Placement | None = None  # None: not decided yet, or clips are decoded when drawn
        self.frames_on_device: FramesOnDevice | None = None
        self._index_datasets: dict[str, FrameIndexDataset] = {}
        self._prepared = False

    @property
    def clips(self) -> list[Clip]:
        """All clips, by split."""
        return [clip for dataset in self.datasets.values() for clip in dataset.clips]

    def frames_bytes(self) -> int:
        """Bytes of all frames at the size at which they are drawn. 0 if none are kept."""
        store = self.reader.store
        return 0 if store is None else frames_bytes(self.clips, store.spec, self.data.size)

    def place(self, device: torch.device, *, processes: int = 1) -> None:
        """Decide where the frames are kept. :meth:`setup` does it if nobody has.

        Args:
            device: the one that trains.
            processes: training processes on this machine.

        Raises:
            ConfigError: they are to lie in the device's memory and do not fit.
        """
        if not isinstance(self._reader_settings, FramesReaderSettings):
            return
        free = free_memory(device)
        self.placement = choose_placement(
            self._reader_settings.placement,
            device_type=device.type,
            frames=self.frames_bytes(),
            free=free,
            reserve=free // 2 if self._reserve is None else self._reserve,
            processes=processes if device.type == "cpu" else 1,
        )
        if self.placement.where == DEVICE:
            self.num_workers = 0

    def prepare_data(self) -> None:
        """Decode the frames that are missing. Lightning calls it in one process of a machine."""
        if not self._prepared:
            files = [file for dataset in self.datasets.values() for file in dataset.files]
            self.reader.prepare(self.clips, files)
            self._prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Load the frames, if they are to lie on the device."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if self.placement is None:
            self.place(device)
        store = self.reader.store
        if store is None or self.placement is None or self.placement.where != DEVICE or self._index_datasets:
            return
        begin, clips = time.monotonic(), self.clips
        frames = FramesOnDevice(
            clips,
            [store.path(clip) for clip in clips],
            [store.spec.count(clip.duration_s, clip.num_frames) for clip in clips],
            size=self.data.size,
            device=device,
        )
        first, speed = 0, self._augmentation.speed
        for split, dataset in self.datasets.items():
            self._index_datasets[split] = FrameIndexDataset(
                dataset.clips, frames, first=first, sampling=self.data, speed=speed
            )
            first += len(dataset)
        self.frames_on_device = frames
        if self.trainer is not None and self.trainer.is_global_zero:
            seconds, size = time.monotonic() - begin, format_bytes(frames.num_bytes)
            print(f"frames of {len(clips)} clips loaded in {seconds:.1f} s: {size}")

    def compile_augmentation(self) -> None:
        """Compile the augmentation: a few kernels instead of about thirty, each over all pixels."""
        self._augment = torch.compile(augment, dynamic=False)

    def release(self) -> None:
        """Free the frames' memory, for the next job of a sweep."""
        self.frames_on_device, self._index_datasets = None, {}

    def train_dataloader(self) -> DataLoader[Batch]:
        labels = [clip.label for clip in self.datasets["train"].clips]
        sampler = TrainSampler(labels, balance=self.data.balance, seed=self._seed, **self._ranks())
        # A last batch of one or two clips would make poor batch statistics and a noisy step.
        return self._loader("train", sampler, drop_last=len(sampler) >= self.data.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test")

    def video(self, batch: Batch) -> Tensor:
        """The frames of a loader's batch, on its device: ``(B, T, H, W, C)`` uint8."""
        return batch["video"] if self.frames_on_device is None else self.frames_on_device[batch["frames"]]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment or crop on the device, where frames arrive as uint8: a quarter of the bytes of floats."""
        video = self.video(batch)
        uniforms, label = batch["uniforms"], batch["label"]
        ready = {"label": label, "valid": batch["valid"]}
        if self.trainer is None or not self.trainer.training:
            return {**ready, "video": centre_crop(video, crop_size=self.data.crop_size)}
        augmentation = self._augmentation
        video = self._augment(video, uniforms, crop_size=self.data.crop_size, augmentation=augmentation)
        if augmentation.mixup:
            video, mix = mix_clips(video, uniforms, alpha=augmentation.mixup)
            ready |= {"mixed_label": label.flip(0), "mix": mix}
        return {**ready, "video": video}

    def explain(self, error: RuntimeError) -> ClipError | None:
        """An error that names the clip, if ``error`` is DataLoader's about a worker that hung or crashed."""
        if not str(error).startswith(("DataLoader timed out", "DataLoader worker")):
            return None
        reading = [line for dataset in self.datasets.values() for line in dataset.being_read()]
        timeout_s = self._reader_settings.timeout_s
        clips = listed_lines(reading or ["(none)"])
        return ClipError(
            f"{str(error).splitlines()[0]}\nClips that were being read:\n{clips}\n"
            "Delete the one at fault and run: python preprocess.py; if the machine is merely slow, raise "
            f"reader.timeout_s ({timeout_s:g}); if it ran out of memory, lower data.num_workers "
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
        workers, timeout_s = self.num_workers, self._reader_settings.timeout_s
        options: dict[str, Any] = {"timeout": timeout_s, "persistent_workers": True} if workers else {}
        dataset: Dataset[Batch] = self.datasets[split]
        if self._index_datasets:
            dataset, options = self._index_datasets[split], {"collate_fn": already_a_batch}
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=self.data.batch_size,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            **options,
        )


def _read(manifest: Path, data: DataSettings) -> tuple[list[str], list[Clip]]:
    """The glosses by label, and the clips with the splits that are used."""
    clips = read_manifest(manifest)
    label_map = label_map_path(manifest) if data.label_map is None else Path(data.label_map)
    glosses = read_label_map(label_map)
    check_labels(label_map, glosses, clips)
    clips = split_clips(clips, data)
    for split, use in (("train", "learn from"), ("val", "choose the best epoch on")):
        if not any(clip.split == split for clip in clips):
            raise ManifestError(
                f"the manifest has no {split} clip, so there is nothing to {use}. Put raw videos of "
                f"the {split} split into paths.raw_dir and run: python preprocess.py"
            )
    if len({clip.label for clip in clips}) < 2:
        raise ManifestError(f"the manifest has one gloss only, {clips[0].gloss!r}: nothing to tell apart")
    return glosses, clips
