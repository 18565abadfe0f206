"""Data sets for DataLoader: clips that are read one by one, or indices of stored frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from asl.contract.manifest import Clip
from asl.data import degradation, transforms
from asl.data.augmentation import Augmentation
from asl.data.class_sampler import Draw
from asl.data.clip_files import ClipError, clip_paths
from asl.data.frames.on_device import FramesOnDevice
from asl.data.frames.on_host import FramesOnHost
from asl.data.framing import Framing
from asl.data.readers.base import ClipReader
from asl.data.sampling import Sampling, draw_frames
from asl.messages import listed_lines

Batch = dict[str, Tensor]


class ClipDataset(Dataset[Batch]):
    """The clips of one split; an item is read when it is requested.

    Args:
        clips: rows of the manifest.
        data_dir: folder to which the paths in the manifest are relative.
        reader: reads the frames.
        sampling: which frames are drawn.
        framing: part of the pictures, and size.
        augmentation: of training clips.
        num_workers: number of reader processes.

    Raises:
        ClipError: clip files are missing.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        data_dir: Path,
        reader: ClipReader,
        sampling: Sampling,
        framing: Framing,
        augmentation: Augmentation | None = None,
        num_workers: int = 0,
    ) -> None:
        self.clips = list(clips)
        self.files = clip_paths(clips, data_dir)
        self._reader = reader
        self._sources = [reader.source(clip, file) for clip, file in zip(self.clips, self.files, strict=True)]
        self._sampling, self._framing, self._augmentation = sampling, framing, augmentation
        # Index of the clip that each worker is reading, -1 if none. Shared memory: the main process names
        # the clip if a worker hangs or crashes.
        self._reading = torch.full((max(1, num_workers),), -1).share_memory_()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Batch:
        """Read one clip.

        Returns:
            ``video`` (T, H, W, C) uint8, ``label`` () int64, ``uniforms`` (U,) float32 in [0, 1),
            ``valid`` () bool, ``clean`` () bool.

        Raises:
            ClipError: the file cannot be read.
        """
        clip = self.clips[draw.clip_index]
        uniforms, rng = _random_numbers(draw, self._augmentation)
        worker = get_worker_info()
        slot = worker.id if worker else 0
        self._reading[slot] = draw.clip_index
        frames = self._reader.read(
            clip,
            self._sources[draw.clip_index],
            sampling=self._sampling,
            framing=self._framing,
            tempo=self._augmentation,
            rng=rng,
        )
        self._reading[slot] = -1
        return {
            "video": torch.from_numpy(frames),
            "label": torch.tensor(clip.label),
            "uniforms": torch.from_numpy(uniforms).float(),
            "valid": torch.tensor(draw.valid),
            "clean": torch.tensor(clip.is_clean),
        }

    def being_read(self) -> list[str]:
        """The clips that workers have begun to read and not finished, as ``video_id: path``."""
        indices = [int(i) for i in self._reading if i >= 0]
        return [f"{self.clips[i].video_id}: {self._sources[i]}" for i in indices]


class FrameIndexDataset(Dataset[Batch]):
    """The clips of one split whose frames are stored. An item is a batch of frame indices.

    Args:
        clips: rows of the manifest.
        frames: the frames of these clips, which are consecutive in it, and of other ones.
        first: position of the first of ``clips`` in ``frames``.
        sampling: which frames are drawn.
        augmentation: of training clips.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        frames: FramesOnDevice | FramesOnHost,
        *,
        first: int,
        sampling: Sampling,
        augmentation: Augmentation,
    ) -> None:
        self._sampling, self._augmentation = sampling, augmentation
        self._durations_s = [clip.duration_s for clip in clips]
        self._labels = np.array([clip.label for clip in clips], np.int64)
        self._clean = np.array([clip.is_clean for clip in clips], np.bool_)
        self._times_s = frames.times_s[first : first + len(clips)]
        self._offsets = frames.offsets[first : first + len(clips)]

    def __len__(self) -> int:
        return len(self._durations_s)

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """Draw the frames of one batch.

        Returns:
            ``frames`` (B, T) int64, indices into ``frames``; ``label`` (B,) int64, ``uniforms``
            (B, U) float32 in [0, 1), ``valid`` (B,) bool, ``clean`` (B,) bool.
        """
        frames = np.empty((len(draws), self._sampling.clip_len), np.int64)
        uniforms = np.empty((len(draws), _num_uniforms(self._augmentation)), np.float32)
        for row, draw in enumerate(draws):
            uniforms[row], rng = _random_numbers(draw, self._augmentation)
            times_s, duration_s = self._times_s[draw.clip_index], self._durations_s[draw.clip_index]
            frames[row] = draw_frames(times_s, duration_s, self._sampling, rng, tempo=self._augmentation)
            frames[row] += self._offsets[draw.clip_index]
        indices = [draw.clip_index for draw in draws]
        return {
            "frames": torch.from_numpy(frames),
            "label": torch.from_numpy(self._labels[indices]),
            "uniforms": torch.from_numpy(uniforms),
            "valid": torch.tensor([draw.valid for draw in draws]),
            "clean": torch.from_numpy(self._clean[indices]),
        }


def explain_worker_error(
    error: RuntimeError, datasets: Iterable[ClipDataset], *, timeout_s: float, num_workers: int
) -> ClipError | None:
    """Return an error that names the clips being read if ``error`` says that a worker hung or crashed.

    Args:
        error: of a DataLoader.
        datasets: what its workers read.
        timeout_s: their time limit (``reader.timeout_s``).
        num_workers: their number (``data.num_workers``).

    Returns:
        None if ``error`` is any other one.
    """
    if not str(error).startswith(("DataLoader timed out", "DataLoader worker")):
        return None
    clips = listed_lines([line for dataset in datasets for line in dataset.being_read()] or ["(none)"])
    return ClipError(
        f"{str(error).splitlines()[0]}\nClips that were being read:\n{clips}\n"
        "Delete the one that is damaged and run: python preprocess.py. If the machine is slow, increase "
        f"reader.timeout_s ({timeout_s:g}); if it ran out of memory, decrease data.num_workers "
        f"({num_workers})"
    )


def keep_batch(batch: Batch) -> Batch:
    """Return ``batch`` unchanged: the collate function for :class:`FrameIndexDataset`."""
    return batch


def _num_uniforms(augmentation: Augmentation | None) -> int:
    """Uniform numbers of a clip: those of :func:`augment`, and those of :func:`degrade` if it has work."""
    degrades = augmentation is not None and augmentation.degrades
    return transforms.NUM_UNIFORMS + (degradation.NUM_UNIFORMS if degrades else 0)


def _random_numbers(
    draw: Draw, augmentation: Augmentation | None
) -> tuple[npt.NDArray[np.float64], np.random.Generator | None]:
    """Uniform numbers for augmentation, and a generator for jitter. In evaluation zeros and None."""
    count = _num_uniforms(augmentation)
    if draw.entropy is None:
        return np.zeros(count), None
    rng = np.random.default_rng(draw.entropy)
    uniforms = rng.random(transforms.NUM_UNIFORMS)
    # A generator of its own: degradations change nothing else that is drawn.
    more = count - len(uniforms)
    if more:
        uniforms = np.concatenate([uniforms, np.random.default_rng((*draw.entropy, 1)).random(more)])
    return uniforms, rng
