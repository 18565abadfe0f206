"""The frames of all clips in the memory of the training device, where a batch is one index operation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asl.contract.manifest import Clip
from asl.data.frames.store import frame_pictures, open_stored_frames
from asl.data.framing import Framing
from asl.machine import available_cores

_MAX_THREADS = 16  # more threads do not load faster


class FramesOnDevice:
    """The frames of all clips, concatenated in one tensor.

    With several devices, each process loads all frames onto its own device, because any rank may draw any
    clip.

    Args:
        clips: rows of the manifest.
        files: the file with the stored frames of each clip.
        counts: number of frames of each clip.
        framing: part of the pictures, and size.
        device: device to load onto.

    Raises:
        ClipError: a file is missing or was changed.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        files: Sequence[Path],
        counts: Sequence[int],
        *,
        framing: Framing,
        device: torch.device,
    ) -> None:
        self.offsets: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.frames = torch.empty((int(self.offsets[-1]), *framing.size, 3), dtype=torch.uint8, device=device)
        self.times_s: list[npt.NDArray[np.float64]] = [np.empty(0)] * len(clips)
        self._clips, self._files, self._framing = clips, files, framing
        self._thread = threading.local()
        with ThreadPoolExecutor(
            min(_MAX_THREADS, available_cores()), initializer=self._initialize_thread
        ) as pool:
            for _ in pool.map(self._load, range(len(clips))):
                pass
        del self._thread

    def __getitem__(self, frames: Tensor) -> Tensor:
        """``(B, T)`` int64 frame indices on the device -> ``(B, T, H, W, C)`` uint8."""
        return self.frames.index_select(0, frames.flatten()).unflatten(0, tuple(frames.shape))

    @property
    def num_bytes(self) -> int:
        """Bytes that the frames take."""
        return self.frames.numel()

    def _initialize_thread(self) -> None:
        """Give the thread a CUDA stream and a staging buffer of its own."""
        if self.frames.is_cuda:
            # Without this, the stream and a CUDA context would be created on device 0.
            torch.cuda.set_device(self.frames.device)
            self._thread.stream = torch.cuda.Stream()
            self._thread.memory = torch.empty(0, dtype=torch.uint8)

    def _load(self, index: int) -> None:
        """Read, resize and copy the frames of one clip."""
        clip = self._clips[index]
        target = self.frames[int(self.offsets[index]) : int(self.offsets[index + 1])]
        frames, self.times_s[index], box = open_stored_frames(clip, self._files[index], count=len(target))
        staged = self._staging(target.numel()).view(target.shape) if target.is_cuda else target
        height, width = frames.shape[1:3]
        if (height, width) == self._framing.size and not self._framing.square(height, width, box):
            np.copyto(staged.numpy(), frames)
        else:
            staged.copy_(frame_pictures(torch.from_numpy(np.array(frames)), self._framing, box))
        if staged is target:
            return
        with torch.cuda.stream(self._thread.stream):
            target.copy_(staged, non_blocking=True)
        self._thread.stream.synchronize()  # then the staging buffer can be reused

    def _staging(self, count: int) -> Tensor:
        """``count`` bytes of this thread's staging buffer, pinned so that copies are asynchronous."""
        if self._thread.memory.numel() < count:
            self._thread.memory = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        memory: Tensor = self._thread.memory
        return memory[:count]
