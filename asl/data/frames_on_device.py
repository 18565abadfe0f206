"""All clips' frames in the memory of the device that trains, so that a batch is one look-up there."""

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
from asl.data.stored_frames import open_stored, scaled
from asl.machine import available_cores

_THREADS = 16  # more do not read faster


class FramesOnDevice:
    """Frames of clips, one after the other in one tensor.

    With several devices each process loads all frames onto its own: any rank may draw any clip.

    Args:
        clips: rows of the manifest.
        files: their files of frames, all there and of as many frames as ``counts`` says.
        counts: frames of each clip.
        size: height, width to which frames of another size are scaled.
        device: where to.

    Raises:
        ClipError: a file has vanished or was changed.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        files: Sequence[Path],
        counts: Sequence[int],
        *,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.offsets: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.frames = torch.empty((int(self.offsets[-1]), *size, 3), dtype=torch.uint8, device=device)
        self.times_s: list[npt.NDArray[np.float64]] = [np.empty(0)] * len(clips)
        self._clips, self._files, self._size = clips, files, size
        self._thread = threading.local()
        with ThreadPoolExecutor(min(_THREADS, available_cores()), initializer=self._begin_thread) as pool:
            for _ in pool.map(self._load, range(len(clips))):
                pass
        del self._thread

    def __getitem__(self, frames: Tensor) -> Tensor:
        """``(B, T)`` int64 places in the tensor, on the device -> ``(B, T, H, W, C)`` uint8."""
        return self.frames.index_select(0, frames.flatten()).unflatten(0, tuple(frames.shape))

    @property
    def num_bytes(self) -> int:
        return self.frames.numel()

    def _begin_thread(self) -> None:
        if self.frames.is_cuda:
            torch.cuda.set_device(self.frames.device)  # else memory for copies is taken by way of the first
            self._thread.stream = torch.cuda.Stream()
            self._thread.memory = torch.empty(0, dtype=torch.uint8)

    def _load(self, number: int) -> None:
        frames, self.times_s[number] = open_stored(self._clips[number], self._files[number])
        target = self.frames[int(self.offsets[number]) : int(self.offsets[number + 1])]
        is_of_size = frames.shape[1:3] == self._size
        staged = self._staging(target.numel()).view(target.shape) if target.is_cuda else target
        if is_of_size:
            np.copyto(staged.numpy(), frames)
        else:
            staged.copy_(scaled(torch.from_numpy(np.array(frames)), self._size))
        if staged is target:
            return
        with torch.cuda.stream(self._thread.stream):
            target.copy_(staged, non_blocking=True)
        self._thread.stream.synchronize()  # then the staging memory is free again; other threads go on

    def _staging(self, count: int) -> Tensor:
        """``count`` bytes of this thread's memory that the device can read by itself."""
        if self._thread.memory.numel() < count:
            self._thread.memory = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        memory: Tensor = self._thread.memory
        return memory[:count]
