"""The encoders that make clips, and opening one of which a GPU has only so many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import av.logging

#: What FFmpeg's log says where the driver opens no further encoding session at the moment: GeForce
#: cards allow a few at a time, and every card runs out of memory. NVIDIA names these two codes for it.
_BUSY = (
    "OpenEncodeSessionEx failed: out of memory (10)",
    "OpenEncodeSessionEx failed: incompatible client key (21)",
)

#: Below, NVENC refuses H.264 from Turing on ("Frame Dimension less than the minimum supported value").
_LEAST_WIDTH, _LEAST_HEIGHT = 146, 50

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


class EncoderError(Exception):
    """An encoder that cannot be opened, in words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason  # a short cause, the same for all clips that it concerns: reports count by it


@dataclass(frozen=True)
class Encoder:
    """How clips are encoded, and where their sources are decoded."""

    name: str  # FFmpeg's
    options: Mapping[str, str]  # FFmpeg's
    hwaccel: bool = False  # decode on the GPU what it can decode
    patience_s: float = 0.0  # how long to wait for a free session
    small: Encoder | None = None  # what encodes pictures that are too small for it

    def for_size(self, width: int, height: int) -> Encoder:
        """Itself, or what takes pictures of so few pixels."""
        fits = width >= _LEAST_WIDTH and height >= _LEAST_HEIGHT
        return self if self.small is None or fits else self.small

    def as_dict(self) -> dict[str, Any]:
        """All that decides what a clip looks like, as plain data."""
        small = self.small and self.small.as_dict()
        return {"name": self.name, "options": dict(self.options), "small": small}


def x264(*, crf: int, preset: str) -> Encoder:
    """libx264, with everything on the CPU."""
    return Encoder("libx264", {"preset": preset, "crf": str(crf)})


def nvenc(*, cq: int, patience_s: float, small: Encoder | None = None) -> Encoder:
    """The GPU's encoder, fed by the GPU's decoder.

    No B-frames: FFmpeg guesses their decoding times from the mean frame rate, and where the rate
    varies a frame would have to be decoded after it is shown, which no MP4 can hold.
    """
    options = {"preset": "p4", "rc": "vbr", "cq": str(cq), "bf": "0"}
    return Encoder("h264_nvenc", options, hwaccel=True, patience_s=patience_s, small=small)


@contextmanager
def ffmpeg_log() -> Iterator[list[tuple[int, str, str]]]:
    """Collect ``(level, part, message)`` of what FFmpeg logs as an error; PyAV leaves it out otherwise."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # the second attempt fails in the words of the first
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)


def all_taken(log: list[tuple[int, str, str]]) -> bool:
    """Whether the GPU has an encoder, but no session to give at the moment."""
    return any(words in message for _, _, message in log for words in _BUSY)


def open_encoder(context: Any, encoder: Encoder) -> None:
    """Open the codec context of an encoder, waiting while others have all of the GPU's sessions.

    Args:
        context: PyAV's codec context, all set.
        encoder: what it is of.

    Raises:
        EncoderError: it cannot be opened, or no session came free for ``encoder.patience_s``.
    """
    deadline, pause_s = time.monotonic() + encoder.patience_s, _FIRST_PAUSE_S
    while True:
        with ffmpeg_log() as log:
            try:
                context.open()
                return
            except av.FFmpegError as error:
                said = log[-1][2].strip() if log else str(error.strerror or error)
        if not all_taken(log):
            raise EncoderError(f"cannot be encoded with {encoder.name}: {said}", "encoder") from None
        if time.monotonic() + pause_s > deadline:
            raise EncoderError(
                f"found no free session of the GPU's encoder for {encoder.patience_s:g} s: give it longer "
                f"with trim.timeout_s, or lower trim.workers",
                "encoder",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
