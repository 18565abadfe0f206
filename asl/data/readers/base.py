"""The base classes of readers, which give training the frames of clips. ``reader=...`` selects one."""

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
from asl.data.frames.store import FrameStore
from asl.data.framing import Framing
from asl.data.sampling import Sampling, Tempo
from asl.data.settings import DataSettings


@dataclass(kw_only=True)
class ReaderSettings:
    """Settings of a reader. Each reader has a subclass and a YAML file in ``conf/reader``."""

    timeout_s: float = setting(
        300.0,
        "time limit of a clip decoded before training, and of a batch of reader processes; the run stops if "
        "it is exceeded",
        gt=0,
    )

    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a reader with reader=...; --help lists them"}

    def problems_with(self, data: DataSettings, frames: FrameSettings) -> Iterator[str]:
        """Yield a message for each value in ``data`` and ``frames`` that this reader cannot work with."""
        return iter(())

    def problems(self) -> Iterator[str]:
        """Yield a message if the YAML file of the choice names no class."""
        if type(self) is ReaderSettings:
            yield "reader: the YAML file of this choice must name a class: _target_: module.Class"

    def build(self, frames: FrameSettings, frames_dir: Path) -> ClipReader:
        """Build the reader.

        Args:
            frames: which frames are stored.
            frames_dir: the folder of stored frames (``paths.frames_dir``).
        """
        raise NotImplementedError(f"{type(self).__name__}.build")


class ClipReader(ABC):
    """Reads the frames of clips. It must be picklable, because each DataLoader worker gets a copy."""

    #: The stored frames, which can be loaded into device memory. None if the reader stores none.
    store: FrameStore | None = None

    def prepare(self, clips: Sequence[Clip], files: Sequence[Path]) -> None:
        """Prepare for reading. Called once, in one process per machine.

        Args:
            clips: the clips of all splits.
            files: the video file of each clip.
        """
        return

    def source(self, clip: Clip, file: Path) -> Path:
        """The file that is read for a clip. ``file`` is its video file."""
        return file

    @abstractmethod
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
        """Draw frames of one clip and bring the part that ``framing`` chooses to its size.

        By default that is the whole picture without its aspect ratio, as torchvision resized the frames on
        which it trained its Kinetics weights. :func:`~asl.data.frames.store.frame_pictures` does it.

        Args:
            clip: the clip's row of the manifest.
            file: the result of :meth:`source`.
            sampling: which frames are drawn.
            framing: part of the pictures, and size.
            tempo: how ``rng`` changes the time; None: not at all.
            rng: jitters the choice of frames (training). None: no jitter (evaluation).

        Returns:
            ``(T, H, W, C)`` uint8 RGB with ``T = sampling.clip_len``.

        Raises:
            ClipError: the file is missing or damaged, or has fewer frames than the manifest says.
        """
