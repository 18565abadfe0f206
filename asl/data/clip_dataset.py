"""What a batch is made of, by the way in which frames come: whole clips, or places of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from asl.contract.manifest import Clip
from asl.data.class_sampler import Draw
from asl.data.frames_on_device import FramesOnDevice
from asl.data.reader import ClipError, read_clip
from asl.data.sampling import Sampling, draw_frames
from asl.data.stored_frames import FrameStore, read_stored_clip
from asl.data.transforms import NUM_UNIFORMS
from asl.messages import listed_lines

Batch = dict[str, Tensor]


def clip_paths(clips: Sequence[Clip], data_dir: Path) -> list[Path]:
    """The file of each clip.

    Raises:
        ClipError: if any is missing, naming the first few and how many.
    """
    paths = [data_dir / clip.path for clip in clips]
    missing = [(clip, path) for clip, path in zip(clips, paths, strict=True) if not path.is_file()]
    if missing:
        named = listed_lines(f"{clip.video_id}: {path}" for clip, path in missing)
        raise ClipError(
            f"{len(missing)} of {len(clips)} clips in the manifest have no file:\n{named}\n"
            "Write the clips and the manifest anew with: python preprocess.py "
            "(paths in the manifest are relative to paths.data_dir)"
        )
    return paths


class ClipDataset(Dataset[Batch]):
    """Clips of one split, read when drawn.

    Args:
        clips: rows of the manifest.
        data_dir: what their paths are relative to.
        sampling: which frames are drawn.
        resize: height, width of the frames.
        speed: least and most of training clips.
        store: decoded frames, all there; None: clips are decoded.
        num_workers: reader processes.

    Raises:
        ClipError: clips without a file.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        data_dir: Path,
        sampling: Sampling,
        resize: tuple[int, int],
        speed: tuple[float, float] = (1.0, 1.0),
        store: FrameStore | None = None,
        num_workers: int = 0,
    ) -> None:
        self.clips = list(clips)
        self.files = clip_paths(clips, data_dir)
        self._read = read_clip if store is None else read_stored_clip
        self._paths = self.files if store is None else [store.path(clip) for clip in clips]
        self._sampling, self._resize, self._speed = sampling, resize, speed
        # What each worker reads at the moment (-1: nothing), to name the clip if it hangs or crashes.
        self._reading = torch.full((max(1, num_workers),), -1).share_memory_()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Batch:
        """One clip: ``video`` (T, H, W, C) uint8, ``label``, ``uniforms`` (NUM_UNIFORMS,), ``valid``."""
        clip = self.clips[draw.clip]
        uniforms, rng = _uniforms(draw)
        worker = get_worker_info()
        slot = worker.id if worker else 0
        self._reading[slot] = draw.clip
        frames = self._read(
            clip,
            self._paths[draw.clip],
            sampling=self._sampling,
            resize=self._resize,
            speed=self._speed,
            rng=rng,
        )
        self._reading[slot] = -1
        return {
            "video": torch.from_numpy(frames),
            "label": torch.tensor(clip.label),
            "uniforms": torch.from_numpy(uniforms).float(),
            "valid": torch.tensor(draw.valid),
        }

    def being_read(self) -> list[str]:
        """The clips that workers had begun and not finished, as ``video_id: path``."""
        indices = [int(i) for i in self._reading if i >= 0]
        return [f"{self.clips[i].video_id}: {self._paths[i]}" for i in indices]


class DrawnFrames(Dataset[Batch]):
    """Clips of one split whose frames are on the device: draws alone, a whole batch at a time.

    Args:
        clips: rows of the manifest.
        frames: where the device keeps theirs, among others'.
        first: place of the first of these clips among all that ``frames`` holds.
        sampling: which frames are drawn.
        speed: least and most of training clips.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        frames: FramesOnDevice,
        *,
        first: int,
        sampling: Sampling,
        speed: tuple[float, float],
    ) -> None:
        self._sampling, self._speed = sampling, speed
        self._durations_s = [clip.duration_s for clip in clips]
        self._labels = np.array([clip.label for clip in clips], np.int64)
        self._times_s = frames.times_s[first : first + len(clips)]
        self._offsets = frames.offsets[first : first + len(clips)]

    def __len__(self) -> int:
        return len(self._durations_s)

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """One batch: ``frames`` (B, T) int64, places in the device's tensor, and the rest as elsewhere."""
        frames = np.empty((len(draws), self._sampling.clip_len), np.int64)
        uniforms = np.empty((len(draws), NUM_UNIFORMS), np.float32)
        for row, draw in enumerate(draws):
            uniforms[row], rng = _uniforms(draw)
            times_s, duration_s = self._times_s[draw.clip], self._durations_s[draw.clip]
            frames[row] = draw_frames(times_s, duration_s, self._sampling, rng, speed=self._speed)
            frames[row] += self._offsets[draw.clip]
        return {
            "frames": torch.from_numpy(frames),
            "label": torch.from_numpy(self._labels[[draw.clip for draw in draws]]),
            "uniforms": torch.from_numpy(uniforms),
            "valid": torch.tensor([draw.valid for draw in draws]),
        }


def as_it_is(batch: Batch) -> Batch:
    """What DataLoader does with a batch of :class:`DrawnFrames`: nothing."""
    return batch


def _uniforms(draw: Draw) -> tuple[npt.NDArray[np.float64], np.random.Generator | None]:
    """A draw's numbers for augmentation, and what jitters its frames; zeros and None in evaluation."""
    if draw.entropy is None:
        return np.zeros(NUM_UNIFORMS), None
    rng = np.random.default_rng(draw.entropy)
    return rng.random(NUM_UNIFORMS), rng
