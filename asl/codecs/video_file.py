"""Open and create video files; the exception for all that is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

#: File name suffixes of videos, the preferred formats first.
VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv"),
    *(".wmv", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv", ".swf"),
)

#: Reason of clips for which there was no space or no permission: the next run may succeed.
NOT_WRITABLE = "not writable"


class VideoError(Exception):
    """What is wrong with a video, as a predicate ("holds no frame"); the caller knows the file's name.

    Args:
        message: the predicate.
        reason: a short cause, the same for all videos that it concerns; reports count by it.
    """

    def __init__(self, message: str, reason: str = "damaged source") -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def open_video(
    path: Path, *, hwaccel: str | None = None, decodes_frame: bool = True
) -> Iterator[InputContainer]:
    """Open a file for reading.

    Args:
        path: the file.
        hwaccel: FFmpeg's name of the device type that decodes (``ffmpeg -hwaccels`` lists them); codecs and
            pictures that it does not support are decoded in software. None: software decodes all.
        decodes_frame: let FFmpeg decode a frame to fill in what the header lacks, as the pixel format. False
            saves the time, and frames cannot be decoded later.

    Raises:
        VideoError: there is no such file, or FFmpeg cannot read it.
    """
    device = HWAccel(hwaccel, allow_software_fallback=True) if hwaccel else None
    options = {} if decodes_frame else {"skip_frame": "all"}
    try:
        with av.open(str(path), metadata_errors="ignore", hwaccel=device, options=options) as container:
            yield container
    except FileNotFoundError:
        raise VideoError("is gone", "unreadable file") from None
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be read: {error_text(error)}", "unreadable file") from None


def video_stream(container: InputContainer) -> VideoStream:
    """The first video stream, set to strict decoding in one thread.

    Raises:
        VideoError: the file has none.
    """
    if not container.streams.video:
        raise VideoError("holds no video stream", "unreadable file")
    stream = container.streams.video[0]
    # Clips are decoded in parallel, in one process a core; more threads would compete.
    stream.codec_context.thread_count = 1
    stream.codec_context.options = strict_options(stream.codec_context.name)
    return stream


def strict_options(codec: str) -> dict[str, str]:
    """Decoder options with which FFmpeg reports damage, and does not conceal it.

    ``aggressive`` finds some that ``explode`` alone does not, see benchmarks/README.md. In MPEG-4 part 2 it
    refuses sound files, too: those with two frames in a packet, as DivX and Xvid write B-frames to AVI.

    Args:
        codec: FFmpeg's name.
    """
    return {"err_detect": "explode" if codec == "mpeg4" else "explode+aggressive"}


def has_display_times(container: InputContainer) -> bool:
    """Whether the file says when each frame is displayed.

    AVI does not: its frames stand in decoding order, one a tick.
    """
    return container.format.name != "avi"


@contextmanager
def create_mp4(path: Path) -> Iterator[OutputContainer]:
    """Create an MP4 file for writing.

    Raises:
        VideoError: it cannot be created, or FFmpeg refuses what is written to it.
    """
    try:
        with av.open(str(path), "w", format="mp4") as container:
            yield container
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"cannot be written as a clip: {error_text(error)}", NOT_WRITABLE) from None


def error_text(error: BaseException) -> str:
    """FFmpeg's or the system's message without the error's number and file name."""
    return str(getattr(error, "strerror", None) or error)
