"""Stored frames that stay on the disk: threads read a batch into memory that a GPU copies from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from asl.contract.frame_store import Frames
from asl.contract.manifest import Clip
from asl.data.frames.store import open_stored_frames, read_stored_frames
from asl.data.framing import Framing
from asl.machine import available_cores

_MAX_THREADS = 16


class FramesOnHost:
    """The frames of all clips as one sequence, of which batches are read from the disk.

    Threads read a batch together: they only copy memory-mapped bytes, and numpy releases Python's lock
    while it copies. So the first batch of an epoch comes as soon as any other, where a worker process of a
    DataLoader would have to read a whole batch alone.

    Args:
        clips: rows of the manifest.
        files: the file with the stored frames of each clip.
        counts: number of frames of each clip.
        framing: part of the pictures, and size.
        pin: read into page-locked memory, from which a GPU copies asynchronously.

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
        pin: bool,
    ) -> None:
        self.offsets: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._clips, self._files, self._framing, self._pin = clips, files, framing, pin
        self._threads = ThreadPoolExecutor(min(_MAX_THREADS, available_cores()))
        self.times_s = list(self._threads.map(self._read_times, range(len(clips))))

    def __getitem__(self, frames: Tensor) -> Tensor:
        """``(B, T)`` int64 frame indices, each row of one clip -> ``(B, T, H, W, C)`` uint8 on the host.

        Raises:
            ClipError: a file is missing or was changed.
        """
        return self.start_reading(frames)()

    def start_reading(self, frames: Tensor) -> Callable[[], Tensor]:
        """Begin to read a batch as :meth:`__getitem__` does; the result waits for it and returns it."""
        indices = frames.numpy()
        video = torch.empty((*indices.shape, *self._framing.size, 3), dtype=torch.uint8, pin_memory=self._pin)
        # numpy arrays: inference mode, in which evaluation makes its tensors, holds for this thread only.
        rows = self._threads.map(self._read_row, indices, video.numpy())

        def finish() -> Tensor:
            for _ in rows:
                pass
            return video

        return finish

    def _read_row(self, indices: npt.NDArray[np.int64], target: Frames) -> None:
        """Read frames of one clip into ``target`` (T, H, W, C)."""
        clip = int(np.searchsorted(self.offsets, indices[0], side="right")) - 1
        drawn = indices - self.offsets[clip]
        target[:] = read_stored_frames(self._clips[clip], self._files[clip], drawn, self._framing)

    def _read_times(self, clip: int) -> npt.NDArray[np.float64]:
        count = int(self.offsets[clip + 1] - self.offsets[clip])
        return open_stored_frames(self._clips[clip], self._files[clip], count=count).times_s

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class ReadAhead:
    """Batches of a DataLoader of frame indices, with their frames; the next batch is read meanwhile.

    Args:
        loader: its batches have ``frames`` (B, T) int64, see :class:`FramesOnHost`.
        frames: what the indices refer to.
    """

    def __init__(self, loader: DataLoader[dict[str, Tensor]], frames: FramesOnHost) -> None:
        self._loader, self._frames = loader, frames
        self.sampler, self.batch_sampler = loader.sampler, loader.batch_sampler  # Lightning sets their epoch

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield each batch with ``video`` (B, T, H, W, C) uint8 in place of ``frames``."""
        ahead: tuple[dict[str, Tensor], Callable[[], Tensor]] | None = None
        for batch in self._loader:
            reading = batch, self._frames.start_reading(batch.pop("frames"))
            if ahead is not None:
                yield {**ahead[0], "video": ahead[1]()}
            ahead = reading
        if ahead is not None:
            yield {**ahead[0], "video": ahead[1]()}
