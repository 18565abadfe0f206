"""The manifest's clips as batches on the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from asl.data.class_sampler import Draw, EvaluationSampler, TrainSampler
from asl.data.frame_sampling import Sampling
from asl.data.reader import ClipError, read_clip
from asl.data.transforms import NUM_CHANCES, Augmentation, augment, centre_crop
from asl.machine import available_cores
from asl.manifest import SPLITS, Clip, ManifestError

Batch = dict[str, Tensor]
MAX_WORKERS = 16  # reader processes, where data.num_workers does not say
_NAMED = 5  # clips named in a message; the rest is counted


def label_map(clips: Sequence[Clip]) -> list[str]:
    """The gloss of each label. A label without any clip, which leaves a gap, has an empty gloss."""
    gloss_of = {clip.label: clip.gloss for clip in clips}
    return [gloss_of.get(label, "") for label in range(max(gloss_of, default=-1) + 1)]


def clip_paths(clips: Sequence[Clip], data_dir: Path) -> list[Path]:
    """The file of each clip.

    Raises:
        ClipError: if any is missing, naming the first few and how many.
    """
    paths = [data_dir / clip.path for clip in clips]
    missing = [(clip, path) for clip, path in zip(clips, paths, strict=True) if not path.is_file()]
    if missing:
        named = "\n".join(f"  {clip.video_id}: {path}" for clip, path in missing[:_NAMED])
        more = f"\n  and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise ClipError(
            f"{len(missing)} of {len(clips)} clips in the manifest have no file:\n{named}{more}\n"
            "Write the clips and the manifest anew with: python preprocess.py "
            "(paths in the manifest are relative to paths.data_dir)"
        )
    return paths


class ClipDataset(Dataset[Batch]):
    """Clips of one split, read when drawn."""

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        data_dir: Path,
        sampling: Sampling,
        resize: tuple[int, int],
        num_workers: int = 0,
    ) -> None:
        self.clips = list(clips)
        self._paths = clip_paths(clips, data_dir)
        self._sampling, self._resize = sampling, resize
        # What each worker reads at the moment (-1: nothing), to name the clip if it hangs or crashes.
        self._reading = torch.full((max(1, num_workers),), -1).share_memory_()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Batch:
        """One clip: ``video`` (T, H, W, C) uint8, ``label``, ``chances`` (NUM_CHANCES,), ``counted``."""
        clip = self.clips[draw.clip]
        rng = None if draw.entropy is None else np.random.default_rng(draw.entropy)
        chances = np.zeros(NUM_CHANCES) if rng is None else rng.random(NUM_CHANCES)
        worker = get_worker_info()
        slot = worker.id if worker else 0
        self._reading[slot] = draw.clip
        frames = read_clip(
            clip, self._paths[draw.clip], sampling=self._sampling, resize=self._resize, rng=rng
        )
        self._reading[slot] = -1
        return {
            "video": torch.from_numpy(frames),
            "label": torch.tensor(clip.label),
            "chances": torch.from_numpy(chances).float(),
            "counted": torch.tensor(draw.counted),
        }

    def being_read(self) -> list[str]:
        """The clips that workers had begun and not finished, as ``video_id: path``."""
        indices = [int(i) for i in self._reading if i >= 0]
        return [f"{self.clips[i].video_id}: {self._paths[i]}" for i in indices]


class ClipDataModule(pl.LightningDataModule):
    """Train, val and test batches of a manifest.

    A batch on the device: ``video`` (B, C, T, H, W) float32 normalised, ``label`` (B,) int64,
    ``counted`` (B,) bool, False for clips that only fill a rank's last step up.

    Args:
        clips: rows of the manifest.
        data_dir: what their paths are relative to.
        sampling: which frames are drawn.
        resize: height, width to which the reader scales.
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
        self._batch_size, self._seed, self._timeout_s = batch_size, seed, timeout_s

    def train_dataloader(self) -> DataLoader[Batch]:
        dataset = self.datasets["train"]
        sampler = TrainSampler(
            [clip.label for clip in dataset.clips], balance=self._balance, seed=self._seed, **self._ranks()
        )
        # A last batch of one or two clips would make poor batch statistics and a noisy step.
        return self._loader(dataset, sampler, drop_last=len(sampler) >= self._batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Runs on the device: uint8 frames travel there, four times fewer bytes than floats."""
        video, chances = batch["video"], batch["chances"]
        if self.trainer is not None and self.trainer.training:
            video = augment(video, chances, crop_size=self.crop_size, augmentation=self._augmentation)
        else:
            video = centre_crop(video, crop_size=self.crop_size)
        return {"video": video, "label": batch["label"], "counted": batch["counted"]}

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
        dataset = self.datasets[split]
        return self._loader(dataset, EvaluationSampler(len(dataset), **self._ranks()), drop_last=False)

    def _ranks(self) -> dict[str, int]:
        if self.trainer is None:
            return {"rank": 0, "num_ranks": 1}
        return {"rank": self.trainer.global_rank, "num_ranks": self.trainer.world_size}

    def _loader(self, dataset: ClipDataset, sampler: Sampler[Draw], *, drop_last: bool) -> DataLoader[Batch]:
        workers = self.num_workers
        options: dict[str, Any] = {"timeout": self._timeout_s, "persistent_workers": True} if workers else {}
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=self._batch_size,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
