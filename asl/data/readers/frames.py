"""``reader=frames``: read stored frames. Clips whose frames are not stored are decoded before training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asl.config.setting import as_override, setting
from asl.contract.frame_store import MARGIN, SIGNER, Frames, FrameSettings
from asl.contract.manifest import Clip
from asl.data.frames.store import FrameStore, open_stored_frames, read_stored_frames
from asl.data.framing import Framing
from asl.data.readers.base import ClipReader, ReaderSettings
from asl.data.sampling import Sampling, Tempo, draw_frames
from asl.data.settings import DataSettings

_ROUNDING = 1 + 1e-6  # by which a product of settings may exceed another


@dataclass(kw_only=True)
class FramesReaderSettings(ReaderSettings):
    """Read stored frames, from device memory or from the disk."""

    placement: str = setting(
        "auto",
        "device: load all frames into device memory; host: read them from the disk; auto: device if they fit",
        choices=["auto", "device", "host"],
    )

    def problems_with(self, data: DataSettings, frames: FrameSettings) -> Iterator[str]:
        """Frames are not stored, not those that training draws, or smaller than those that it asks for."""
        if not frames.enabled:
            yield "frames.enabled=false: reader=frames needs stored frames; set reader=decord"
        if data.fps is None and frames.fps is not None:
            yield (
                f"data.fps=null draws from all frames of a file, but frames.fps={frames.fps:g} stores only "
                "those of a time grid: set frames.fps=null (for both programs), or reader=decord"
            )
        if data.fps is not None and frames.fps is not None and data.fps > frames.fps:
            yield (
                f"data.fps={data.fps:g} draws from more frames than frames.fps={frames.fps:g} stores: set "
                f"frames.fps={data.fps:g} or frames.fps=null (for both programs), or reader=decord"
            )
        side, stored = min(data.resize), frames.short_side
        if side > stored:
            shrunk = [round(length * stored / side) for length in data.resize]
            yield (
                f"data.resize={data.resize} would enlarge the stored frames, whose shorter side is "
                f"frames.short_side={stored}: set frames.short_side={side} (for both programs), or "
                f"data.resize={as_override(shrunk)} (and data.crop_size to at most {min(shrunk)}), or "
                "reader=decord"
            )
        if frames.crop != SIGNER:
            return
        if data.crop != SIGNER:
            yield (
                f"data.crop={data.crop} needs whole pictures, but frames.crop=signer stores only the square "
                "around the signer: set data.crop=signer, or frames.crop=none (for both programs), or "
                "reader=decord"
            )
            return
        needed = data.enlarge * data.resize[0] / data.crop_size / MARGIN
        if needed > frames.enlarge * _ROUNDING:
            yield (
                f"data.enlarge={data.enlarge:g} with data.resize={data.resize} and data.crop_size="
                f"{data.crop_size} needs more around the signer than frames.enlarge={frames.enlarge:g} "
                f"stores: set frames.enlarge={math.ceil(100 * needed) / 100:g} (for both programs), or "
                f"data.enlarge={math.floor(100 * data.enlarge * frames.enlarge / needed) / 100:g}, or "
                "reader=decord"
            )

    def build(self, frames: FrameSettings, frames_dir: Path) -> FramesReader:
        """Build the reader."""
        return FramesReader(FrameStore(folder=frames_dir, spec=frames), timeout_s=self.timeout_s)


class FramesReader(ClipReader):
    """Reads stored frames.

    Args:
        store: where the frames are, and which they are.
        timeout_s: time limit for decoding one clip in :meth:`prepare`.
    """

    store: FrameStore

    def __init__(self, store: FrameStore, *, timeout_s: float) -> None:
        self.store, self._timeout_s = store, timeout_s

    def prepare(self, clips: Sequence[Clip], files: Sequence[Path]) -> None:
        """Decode the clips whose frames are not stored, and store these."""
        from asl.data.frames.missing import find_missing, make_missing  # not needed by DataLoader workers

        folder = self.store.folder
        missing = find_missing(clips, files, folder=folder, spec=self.store.spec)
        make_missing(missing, folder=folder, timeout_s=self._timeout_s)

    def source(self, clip: Clip, file: Path) -> Path:
        """The file with the clip's stored frames."""
        return self.store.path(clip)

    def read(
        self,
        clip: Clip,
        file: Path,
        *,
        sampling: Sampling,
        framing: Framing,
        tempo: Tempo | None = None,
        rng: np.random.Generator | None = None,
    ) -> Frames:
        """Read one clip. Training reads whole batches instead, see FramesOnHost and FramesOnDevice."""
        times_s = open_stored_frames(clip, file).times_s
        drawn = draw_frames(times_s, clip.duration_s, sampling, rng, tempo=tempo)
        return read_stored_frames(clip, file, drawn, framing)
