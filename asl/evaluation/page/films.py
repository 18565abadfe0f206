"""The frames that the network saw of a clip, as a strip of pictures that the page plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asl.contract.manifest import Clip
from asl.data.clip_files import clip_paths
from asl.data.framing import Framing
from asl.data.readers.base import ClipReader
from asl.data.sampling import Sampling
from asl.data.transforms import crop_pictures
from asl.evaluation.predictions import Prediction
from asl.page.addresses import jpeg_uri
from asl.page.strip import spread, strip_jpeg

#: Clips that are shown with their frames; the further ones are only listed.
MAX_FILMS = 24

#: Frames of a film; of more, as many are shown, evenly spaced.
MAX_FRAMES = 32

#: Larger frames are made as small, in pixels.
SIDE = 112


@dataclass(frozen=True, kw_only=True)
class Film:
    """Frames of a clip side by side in one JPEG."""

    file: Path  # the clip
    jpeg: bytes
    num_frames: int
    side: int  # height and width of a frame in pixels
    frame_s: float  # time from one frame to the next, as in the clip

    @property
    def uri(self) -> str:
        """The JPEG as a ``data:`` URI."""
        return jpeg_uri(self.jpeg)


def mistakes(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The clips that are taken for another gloss, the most confident first."""
    wrong = [one for one in predictions if one.rank > 1]
    return sorted(wrong, key=lambda one: (-one.confidence, one.video_id))


def clips_to_show(clips: Sequence[Clip], predictions: Sequence[Prediction]) -> list[Clip]:
    """The clips of the most confident mistakes, at most :data:`MAX_FILMS`."""
    shown = {one.video_id for one in mistakes(predictions)[:MAX_FILMS]}
    return [clip for clip in clips if clip.video_id in shown]


def read_films(
    clips: Sequence[Clip],
    *,
    data_dir: Path,
    reader: ClipReader,
    sampling: Sampling,
    framing: Framing,
) -> dict[str, Film]:
    """Read what the network saw of each clip.

    Args:
        clips: rows of the manifest.
        data_dir: folder to which the paths in the manifest are relative.
        reader: reads the frames.
        sampling: which frames are drawn.
        framing: part of the pictures, and size.

    Returns:
        The films by ``video_id``.

    Raises:
        ClipError: a file is missing or cannot be read.
    """
    films = {}
    for clip, file in zip(clips, clip_paths(clips, data_dir), strict=True):
        frames = reader.read(clip, reader.source(clip, file), sampling=sampling, framing=framing)
        cropped = crop_pictures(frames, framing.crop_size)
        shown = cropped[spread(len(cropped), MAX_FRAMES)]
        side = min(SIDE, framing.crop_size)
        films[clip.video_id] = Film(
            file=file,
            jpeg=strip_jpeg(shown, side),
            num_frames=len(shown),
            side=side,
            frame_s=_frame_s(clip, sampling) * len(cropped) / len(shown),
        )
    return films


def _frame_s(clip: Clip, sampling: Sampling) -> float:
    """Seconds from one drawn frame to the next: longer in long clips if they are drawn from end to end."""
    strided = sampling.frame_stride / (sampling.fps or clip.fps)
    return max(strided, clip.duration_s / sampling.clip_len) if sampling.long == "uniform" else strided
