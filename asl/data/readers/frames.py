"""``reader=frames``: every clip is decoded once, before training, and its frames are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asl.config.setting import setting
from asl.contract.frame_store import Frames, FrameSettings
from asl.contract.manifest import Clip
from asl.data.readers.base import ClipReader, ReaderSettings
from asl.data.sampling import Sampling, draw_frames
from asl.data.settings import DataSettings
from asl.data.stored_frames import FrameStore, open_stored, scaled


@dataclass(kw_only=True)
class FramesReaderSettings(ReaderSettings):
    """Frames that were decoded once: in the device's memory, or read from the disk."""

    placement: str = setting(
        "auto",
        "all frames in the device's memory, or read from the host's disk; auto: device if they fit",
        choices=["auto", "device", "host"],
    )

    def problems_with(self, data: DataSettings, frames: FrameSettings) -> Iterator[str]:
        """Frames that are drawn and not kept."""
        if not frames.enabled:
            yield "frames.enabled=false: then clips are decoded whenever they are drawn; set reader=decord"
        if data.fps is None and frames.fps is not None:
            yield (
                f"data.fps=null draws from every frame of a file, frames.fps={frames.fps:g} keeps those of a "
                "grid: set frames.fps=null (for both programs), or reader=decord"
            )
        if data.fps is not None and frames.fps is not None and data.fps > frames.fps:
            yield (
                f"data.fps={data.fps:g} draws from more frames than frames.fps={frames.fps:g} keeps: set "
                f"frames.fps={data.fps:g} or frames.fps=null (for both programs), or reader=decord"
            )

    def build(self, frames: FrameSettings, frames_dir: Path) -> FramesReader:
        """The reader itself."""
        return FramesReader(FrameStore(folder=frames_dir, spec=frames), timeout_s=self.timeout_s)


class FramesReader(ClipReader):
    """Reads frames of a store, and fills the store before training.

    Args:
        store: where the frames lie, and which they are.
        timeout_s: for decoding one clip.
    """

    store: FrameStore

    def __init__(self, store: FrameStore, *, timeout_s: float) -> None:
        self.store, self._timeout_s = store, timeout_s

    def prepare(self, clips: Sequence[Clip], files: Sequence[Path]) -> None:
        """Decode the clips whose frames are not in the store."""
        from asl.data.missing_frames import find_missing, make_missing  # DataLoader workers do not need it

        folder = self.store.folder
        missing = find_missing(clips, files, folder=folder, spec=self.store.spec)
        make_missing(missing, folder=folder, timeout_s=self._timeout_s)

    def source(self, clip: Clip, file: Path) -> Path:
        return self.store.path(clip)

    def read(
        self,
        clip: Clip,
        file: Path,
        *,
        sampling: Sampling,
        size: tuple[int, int],
        speed: Sequence[float] = (1.0, 1.0),
        rng: np.random.Generator | None = None,
    ) -> Frames:
        import torch  # the settings above are needed without it

        frames, times_s = open_stored(clip, file)
        drawn = frames[draw_frames(times_s, clip.duration_s, sampling, rng, speed=speed)]
        return scaled(torch.from_numpy(drawn), size).numpy()
