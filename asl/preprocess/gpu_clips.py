"""Whole H.264 files as clips without the host decoding them: copied here, proven by the GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from asl.files import beside
from asl.frame_store import Frames
from asl.preprocess import fingerprint, nvdec, strip, video
from asl.preprocess.fingerprint import frames_to_keep
from asl.preprocess.raw_files import RawVideo
from asl.preprocess.strip import frames_to_show
from asl.preprocess.trim import Cut, Proof, proof_of
from asl.preprocess.video import Decoded, Index, Timeline, VideoInfo


def can_prove(cut: Cut, raw: RawVideo) -> bool:
    """Whether a GPU that tells of damage can make this clip: a copy, with frames large enough to show."""
    if cut.frames is None or not cut.is_whole or raw.turned:
        return False
    if (raw.codec, raw.pix_fmt) != ("h264", "yuv420p"):
        return False
    kept = max(cut.frames.spec.size(raw.width, raw.height))
    return kept >= min(strip.SIDE, max(raw.width, raw.height))


class CopiedClip:
    """A copied clip that has no name yet.

    Args:
        cut: see :func:`can_prove`.

    Raises:
        VideoError: it cannot be copied as it is, or its bytes cannot be right.
        OSError: it cannot be written.
    """

    def __init__(self, cut: Cut) -> None:
        self.cut, self.part = cut, beside(cut.target)
        cut.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._meant: Timeline = video.copy(cut.source, self.part, audio=cut.audio)
            self._coded = nvdec.read_clip(self.part)
        except BaseException:
            self.discard()
            raise

    @property
    def index(self) -> Index:
        """What its packets say."""
        return self._coded.index

    @property
    def wanted(self) -> list[int]:
        """Numbers of the frames that the proof shows."""
        count = len(self.index.times)
        return sorted({*frames_to_keep(count), *frames_to_show(count)})

    def check(self) -> None:
        """Decode it and be told of damage: key frames by the host, all by the GPU.

        In key frames the GPU's decoder misses more than elsewhere (benchmarks/README.md).

        Raises:
            VideoError: something is wrong.
            OSError: there is no driver, or no device.
        """
        pictures = self._coded.pictures
        video.decode_coded(picture.data for picture in pictures if picture.is_idr)
        nvdec.check(self._coded)

    def prove(self, frames: Callable[[Sequence[int]], Frames]) -> Proof:
        """The proof, after :meth:`check`.

        Args:
            frames: gives frames ``(N, H, W, 3)`` of these numbers, small.

        Raises:
            VideoError: it is not what was meant.
            OSError: its pictures cannot be written.
        """
        index, count = self.index, len(self.index.times)
        decoded = Decoded(
            timeline=Timeline(index.times, index.end),
            info=VideoInfo(
                codec=index.codec,
                pix_fmt=index.pix_fmt,
                width=index.width,
                height=index.height,
                turn=(),  # see can_prove()
                fps=0.0,
                duration_s=float(index.end),
                has_audio=self.cut.audio,
            ),
            thumbnails=video.thumbnails(frames(frames_to_keep(count)), side=fingerprint.SIDE),
            pictures=video.fitted(frames(frames_to_show(count)), side=strip.SIDE),
        )
        return replace(proof_of(self.cut, self.part, self._meant, decoded, copied=True), by_gpu=True)

    def take_name(self) -> None:
        """From now on it is the clip."""
        self.part.replace(self.cut.target)

    def discard(self) -> None:
        """Leave nothing behind."""
        self.part.unlink(missing_ok=True)
