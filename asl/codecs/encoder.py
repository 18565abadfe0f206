"""Which encoder writes clips, and with which options; FFmpeg's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import av.logging

from asl.codecs.video_file import VideoError


@dataclass(frozen=True)
class Encoder:
    """An H.264 encoder of FFmpeg's and its options."""

    name: str  # FFmpeg's name
    options: Mapping[str, str]  # FFmpeg's private options of the encoder
    hwaccel: str | None = None  # device type that decodes the source, see open_video; None: software

    def for_size(self, width: int, height: int) -> Encoder:
        """The encoder for pictures of this size in pixels; libx264 encodes every even size itself."""
        return self

    def open(self, context: Any) -> None:
        """Open a codec context of PyAV's on which everything else is set.

        Raises:
            VideoError: FFmpeg cannot open the encoder; the reason is ``encoder``.
        """
        messages = try_open(context)
        if messages:
            raise self.open_error(messages)

    def open_error(self, messages: list[str]) -> VideoError:
        """The exception for an encoder that cannot be opened, given what :func:`try_open` returned."""
        return VideoError(f"cannot be encoded with {self.name}: {messages[-1]}", "encoder")

    def as_dict(self) -> dict[str, Any]:
        """Everything that decides how a clip looks, as plain data; the proof log stores it."""
        return {"name": self.name, "options": dict(self.options), "small": None}


def x264(*, crf: int, preset: str) -> Encoder:
    """libx264 at a constant rate factor (lower: better), with everything in software."""
    return Encoder("libx264", {"preset": preset, "crf": str(crf)})


def try_open(context: Any) -> list[str]:
    """Open a codec context; returns FFmpeg's error messages, or an empty list on success."""
    with ffmpeg_log() as log:
        try:
            context.open()
        except av.FFmpegError as error:
            return [message.strip() for _, _, message in log] or [str(error.strerror or error)]
    return []


@contextmanager
def ffmpeg_log() -> Iterator[list[tuple[int, str, str]]]:
    """Collect ``(level, component, message)`` of what FFmpeg logs as errors; PyAV is silent by default."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # a second attempt fails with the same message
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
