"""How frames of clips reach training; ``reader=...`` chooses one way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from asl.config.setting import setting
from asl.contract.frame_store import Frames, FrameSettings
from asl.contract.manifest import Clip
from asl.data.sampling import Sampling
from asl.data.settings import DataSettings
from asl.data.stored_frames import FrameStore


@dataclass(kw_only=True)
class ReaderSettings:
    """What all readers have in common. A reader is a subclass and a YAML file."""

    timeout_s: float = setting(
        300.0, "a batch, or a clip decoded before training, that takes longer stops the run", gt=0
    )

    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a reader with reader=frames or reader=decord"}

    def problems_with(self, data: DataSettings, frames: FrameSettings) -> Iterator[str]:
        """Settings of ``data`` and ``frames`` with which this reader cannot work."""
        return iter(())

    def build(self, frames: FrameSettings, frames_dir: Path) -> ClipReader:
        """The reader itself.

        Args:
            frames: which frames are kept beforehand.
            frames_dir: ``paths.frames_dir``, where they lie.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")


class ClipReader(ABC):
    """Reads frames of clips. Worker processes get a copy, so it must be picklable."""

    #: Frames that were decoded beforehand and may be loaded into a device's memory. None if there are none.
    store: FrameStore | None = None

    def prepare(self, clips: Sequence[Clip], files: Sequence[Path]) -> None:
        """Do what must be done before the first clip is read; called in one process of a machine.

        Args:
            clips: all clips of the manifest that are used.
            files: the file of each.
        """
        return

    def source(self, clip: Clip, file: Path) -> Path:
        """The file that is read for a clip; ``file`` is the clip itself."""
        return file

    @abstractmethod
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
        """Draw frames of one clip, scaled to ``size`` without regard to the aspect ratio.

        Scaling to one fixed size is what torchvision's Kinetics weights were trained on.

        Args:
            clip: its row of the manifest.
            file: see :meth:`source`.
            sampling: which frames.
            size: height, width in pixels.
            speed: least and most, of which one is drawn.
            rng: jitters the choice of frames; None takes the middle.

        Returns:
            ``(T, H, W, C)`` uint8 RGB with ``T = sampling.clip_len``.

        Raises:
            ClipError: the file is missing, damaged, or shorter than the manifest says.
        """
