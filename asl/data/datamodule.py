"""The clips of a manifest as batches on the training device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from asl.config.setting import ConfigError, find_problems
from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import SPLITS, Clip
from asl.data.augmentation import Augmentation
from asl.data.class_sampler import Draw, EvaluationSampler, TrainSampler
from asl.data.clip_dataset import (
    Batch,
    ClipDataset,
    FrameIndexDataset,
    explain_worker_error,
    keep_batch,
)
from asl.data.clip_files import ClipError
from asl.data.frames.on_device import FramesOnDevice
from asl.data.frames.on_host import FramesOnHost, ReadAhead
from asl.data.frames.placement import AUTO, DEVICE, Placement, choose_placement, frames_bytes, free_memory
from asl.data.frames.store import FrameStore
from asl.data.normalisation import KINETICS_MEAN, KINETICS_STD
from asl.data.read_clips import count_flags, drop_flagged, read_clips
from asl.data.readers.base import ReaderSettings
from asl.data.readers.frames import FramesReaderSettings
from asl.data.settings import DROP_TRAIN, DataSettings
from asl.data.transforms import augment, centre_crop, mix_clips
from asl.messages import format_bytes


class ClipDataModule(pl.LightningDataModule):
    """Train, val and test batches of a manifest, for asl's own training or any Lightning Trainer.

    A batch on the device has ``video`` (B, C, T, H, W) float32, normalised; ``label`` (B,) int64; ``valid``
    (B,) bool, False for clips that only fill up a rank's last batch and that metrics must ignore; and
    ``clean`` (B,) bool, see :attr:`Clip.is_clean`. With mixup, training batches also have ``mixed_label``
    (B,) int64 and ``mix`` (), the share of ``label``.

    Which frames are drawn depends only on (seed, epoch, position in the epoch): not on the reader, the number
    of workers, or where frames are kept. With several devices, each rank gets its share of the clips, also
    if the Trainer has ``use_distributed_sampler=True``.

    Args:
        manifest: file written by ``preprocess.py``, or several. The label map of each is beside it.
        data: which clips and frames are used, and the batch size. Its ``manifest`` is ignored.
        reader: how frames are read. None: stored frames.
        frames: which frames are stored.
        augmentation: augmentation of training clips.
        data_dir: folder to which the paths in the manifests are relative. None: the parent of the (first)
            manifest's folder.
        frames_dir: folder of stored frames. None: ``frames`` in ``data_dir``.
        reserve: bytes of a GPU's memory that training needs beside the frames. None: half of the free memory.
        seed: seed of order, jitter and augmentation.
        mean: of each channel, for pixels in [0, 1]; see ``NetworkSettings.mean``.
        std: standard deviation of each channel.

    Raises:
        ConfigError: a setting is out of range, or settings contradict each other.
        ManifestError: a manifest cannot be read, manifests have a clip in common, or there is no train clip,
            no val clip, or only one gloss.
        LabelMapError: the label map is missing, or does not fit the manifest.
        ClipError: clip files are missing.
    """

    def __init__(
        self,
        manifest: Path | str | Sequence[Path | str],
        *,
        data: DataSettings | None = None,
        reader: ReaderSettings | None = None,
        frames: FrameSettings | None = None,
        augmentation: Augmentation | None = None,
        data_dir: Path | str | None = None,
        frames_dir: Path | str | None = None,
        reserve: int | None = None,
        seed: int = 0,
        mean: Sequence[float] = KINETICS_MEAN,
        std: Sequence[float] = KINETICS_STD,
    ) -> None:
        super().__init__()
        self.normalisation = {"mean": mean, "std": std}
        self.data = data or DataSettings()
        self._reader_settings = reader or FramesReaderSettings()
        self._augmentation = augmentation or Augmentation()
        self._reserve, self._seed = reserve, seed
        self._check_settings(frames or FrameSettings())

        manifests = [Path(one) for one in ([manifest] if isinstance(manifest, (str, Path)) else manifest)]
        labelled = read_clips(manifests, self.data)
        self.glosses, self.num_left_out, clips = labelled.glosses, labelled.left_out, labelled.clips
        self.flagged = count_flags(clips)
        used = drop_flagged(clips) if self.data.flags == DROP_TRAIN else clips
        self.num_dropped = len(clips) - len(used)
        data_dir = manifests[0].parent.parent if data_dir is None else Path(data_dir)
        frames_dir = data_dir / "frames" if frames_dir is None else Path(frames_dir)
        self.reader = self._reader_settings.build(frames or FrameSettings(), frames_dir)
        self.num_workers = self.data.reader_processes
        self.datasets = {
            split: ClipDataset(
                [clip for clip in used if clip.split == split],
                data_dir=data_dir,
                reader=self.reader,
                sampling=self.data,
                framing=self.data,
                augmentation=self._augmentation,
                num_workers=self.num_workers,
            )
            for split in SPLITS
        }
        self._augment: Callable[..., Tensor] = augment
        self.placement: Placement | None = None  # None: not decided yet, or the reader stores no frames
        self.stored_frames: FramesOnDevice | FramesOnHost | None = None
        self._index_datasets: dict[str, FrameIndexDataset] = {}
        self._prepared = False

    def _check_settings(self, frames: FrameSettings) -> None:
        """Raise ConfigError as the programs do, also if the settings were made in a notebook."""
        problems = [
            *find_problems(self.data, "data."),
            *find_problems(self._reader_settings, "reader."),
            *find_problems(self._augmentation, "augment."),
            *find_problems(frames, "frames."),
        ]
        problems = problems or list(self._reader_settings.problems_with(self.data, frames))
        if problems:
            raise ConfigError("\n".join(problems))

    @property
    def num_clean(self) -> dict[str, int]:
        """The number of clean clips of each split among those that are used."""
        return {
            split: sum(clip.is_clean for clip in dataset.clips) for split, dataset in self.datasets.items()
        }

    @property
    def clips(self) -> list[Clip]:
        """The clips of all splits: train, val, test."""
        return [clip for dataset in self.datasets.values() for clip in dataset.clips]

    @property
    def requested_placement(self) -> str:
        """``reader.placement``; ``auto`` for a reader without this key."""
        placement: str = getattr(self._reader_settings, "placement", AUTO)
        return placement

    def frames_bytes(self) -> int:
        """Bytes of all stored frames after resizing. 0 if the reader stores none."""
        store = self.reader.store
        return 0 if store is None else frames_bytes(self.clips, store.spec, self.data.size)

    def decide_placement(self, device: torch.device, *, processes: int = 1) -> None:
        """Decide where the stored frames are kept. :meth:`setup` calls this if it was not called before.

        Args:
            device: the device that trains.
            processes: number of training processes on this machine.

        Raises:
            ConfigError: ``reader.placement=device``, and the frames do not fit into its memory.
        """
        if self.reader.store is None:
            return
        free = free_memory(device)
        self.placement = choose_placement(
            self.requested_placement,
            device_type=device.type,
            frames=self.frames_bytes(),
            free=free,
            reserve=free // 2 if self._reserve is None else self._reserve,
            processes=processes if device.type == "cpu" else 1,
        )
        self.num_workers = 0  # stored frames need no reader processes

    def prepare_data(self) -> None:
        """Decode and store the frames that are missing. Lightning calls this in one process per machine."""
        if not self._prepared:
            files = [file for dataset in self.datasets.values() for file in dataset.files]
            self.reader.prepare(self.clips, files)
            self._prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Open the stored frames, or load them into device memory. Each rank loads all frames."""
        if self.trainer is None:
            device, processes = torch.device("cpu"), 1
        else:
            device, processes = self.trainer.strategy.root_device, self.trainer.num_devices
        if self.placement is None:
            self.decide_placement(device, processes=processes)
        store = self.reader.store
        if store is not None and self.placement is not None and self.stored_frames is None:
            self._open_frames(store, self.placement, device)

    def _open_frames(self, store: FrameStore, placement: Placement, device: torch.device) -> None:
        begin, clips = time.monotonic(), self.clips
        files = [store.path(clip) for clip in clips]
        counts = [store.spec.count(clip.duration_s, clip.num_frames) for clip in clips]
        frames: FramesOnDevice | FramesOnHost
        if placement.where == DEVICE:
            frames = FramesOnDevice(clips, files, counts, framing=self.data, device=device)
        else:
            frames = FramesOnHost(clips, files, counts, framing=self.data, pin=device.type == "cuda")
        first = 0
        for split, dataset in self.datasets.items():
            self._index_datasets[split] = FrameIndexDataset(
                dataset.clips, frames, first=first, sampling=self.data, augmentation=self._augmentation
            )
            first += len(dataset)
        self.stored_frames = frames
        if isinstance(frames, FramesOnDevice) and self.trainer is not None and self.trainer.is_global_zero:
            seconds, size = time.monotonic() - begin, format_bytes(frames.num_bytes)
            print(f"frames of {len(clips)} clips loaded in {seconds:.1f} s: {size}")

    def free_frames(self) -> None:
        """Free the memory of the loaded frames, for the next job of a sweep."""
        if isinstance(self.stored_frames, FramesOnHost):
            self.stored_frames.close()
        self.stored_frames, self._index_datasets = None, {}

    def compile_augmentation(self) -> None:
        """Compile the augmentation. It runs as a few kernels instead of about thirty."""
        self._augment = torch.compile(augment, dynamic=False)

    def train_dataloader(self) -> DataLoader[Batch] | ReadAhead:
        """Batches of this rank's share of the training clips. An incomplete last batch is dropped."""
        sampler = self._train_sampler()
        # Batch statistics of one or two clips would be poor. A single incomplete batch is kept.
        return self._loader("train", sampler, drop_last=len(sampler) >= self.data.batch_size)

    def val_dataloader(self) -> DataLoader[Batch] | ReadAhead:
        """Batches of this rank's share of the clips that choose the best epoch, in order: those of val."""
        return self._evaluation_loader(self.data.figures[self.data.selection])

    def test_dataloader(self) -> DataLoader[Batch] | ReadAhead:
        """Batches of this rank's share of the test clips, in order."""
        return self._evaluation_loader("test")

    def uint8_video(self, batch: Batch) -> Tensor:
        """The frames of a batch of a loader, on the batch's device: ``(B, T, H, W, C)`` uint8."""
        if isinstance(self.stored_frames, FramesOnDevice):
            return self.stored_frames[batch["frames"]]
        return batch["video"]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment (training) or crop (evaluation) on the device. Frames arrive there as uint8, not floats."""
        training = self.trainer is not None and self.trainer.training
        return self._finish(self.uint8_video(batch), batch, training=training)

    def _finish(self, video: Tensor, batch: Batch, *, training: bool) -> Batch:
        uniforms, label = batch["uniforms"], batch["label"]
        ready = {"label": label, "valid": batch["valid"], "clean": batch["clean"]}
        if not training:
            return {
                **ready,
                "video": centre_crop(video, crop_size=self.data.crop_size, **self.normalisation),
            }
        augmentation = self._augmentation
        video = self._augment(
            video,
            uniforms,
            crop_size=self.data.crop_size,
            augmentation=augmentation,
            **self.normalisation,
        )
        if augmentation.mixup:
            video, mix = mix_clips(video, uniforms, alpha=augmentation.mixup)
            ready |= {"mixed_label": label.flip(0), "mix": mix}
        return {**ready, "video": video}

    def sample(self, split: str, count: int) -> tuple[list[Clip], Tensor]:
        """Some clips of a split, and what the network gets of them. Stores the frames that are missing.

        Args:
            split: of train, the clips that the first epoch draws first, augmented as it does; of another
                split, clips spread evenly over it.
            count: how many; fewer if there are fewer, or if clips are mixed in smaller batches.

        Returns:
            The rows of the manifest, and ``(B, C, T, H, W)`` float32, normalised.

        Raises:
            ClipError: a clip cannot be read.
        """
        dataset = self.datasets[split]
        shown = min(count, len(dataset))
        draws = [Draw(index * len(dataset) // shown) for index in range(shown)]
        if split == "train":
            drawn = self.data.batch_size if self._augmentation.mixup else shown
            draws = list(islice(self._train_sampler(), drawn))
        clips = [dataset.clips[draw.clip_index] for draw in draws]
        files = {dataset.clips[draw.clip_index]: dataset.files[draw.clip_index] for draw in draws}
        self.reader.prepare(list(files), list(files.values()))
        batch: Batch = default_collate([dataset[draw] for draw in draws])
        video = self._finish(batch["video"], batch, training=split == "train")["video"]
        return clips[:shown], video[:shown]

    def explain_worker_error(self, error: RuntimeError) -> ClipError | None:
        """See :func:`~asl.data.clip_dataset.explain_worker_error`."""
        return explain_worker_error(
            error,
            self.datasets.values(),
            timeout_s=self._reader_settings.timeout_s,
            num_workers=self.num_workers,
        )

    def _train_sampler(self) -> TrainSampler:
        labels = [clip.label for clip in self.datasets["train"].clips]
        return TrainSampler(labels, balance=self.data.balance, seed=self._seed, **self._ranks())

    def _evaluation_loader(self, split: str) -> DataLoader[Batch] | ReadAhead:
        sampler = EvaluationSampler(len(self.datasets[split]), **self._ranks())
        return self._loader(split, sampler, drop_last=False)

    def _ranks(self) -> dict[str, int]:
        """The rank of this process and the number of ranks, as arguments of a sampler."""
        if self.trainer is None:
            return {"rank": 0, "num_ranks": 1}
        return {"rank": self.trainer.global_rank, "num_ranks": self.trainer.world_size}

    def _loader(
        self, split: str, sampler: Sampler[Draw], *, drop_last: bool
    ) -> DataLoader[Batch] | ReadAhead:
        workers, timeout_s = self.num_workers, self._reader_settings.timeout_s
        options: dict[str, Any] = {"timeout": timeout_s, "persistent_workers": True} if workers else {}
        dataset: Dataset[Batch] = self.datasets[split]
        if self._index_datasets:
            dataset, options = self._index_datasets[split], {"collate_fn": keep_batch}
        loader = DataLoader(
            dataset,
            sampler=sampler,
            batch_size=self.data.batch_size,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
        if isinstance(self.stored_frames, FramesOnHost):
            return ReadAhead(loader, self.stored_frames)
        return loader
