"""NVENC, the H.264 encoder of NVIDIA GPUs, of which a GPU opens only so many sessions at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asl.codecs.encoder import Encoder, try_open
from asl.codecs.video_file import VideoError

#: What FFmpeg logs when the driver cannot open another encoding session at the moment: GeForce cards
#: allow a few at a time, and every card runs out of memory. NVIDIA documents these two codes for it.
_NO_FREE_SESSION = (
    "OpenEncodeSessionEx failed: out of memory (10)",
    "OpenEncodeSessionEx failed: incompatible client key (21)",
)

#: Pixels. From Turing on, NVENC refuses smaller H.264 pictures ("Frame Dimension less than the minimum
#: supported value").
_MIN_WIDTH, _MIN_HEIGHT = 146, 50

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


@dataclass(frozen=True)
class NvencEncoder(Encoder):
    """NVENC with its options, and what happens where it cannot encode."""

    session_timeout_s: float = 0.0  # how long to wait for a free session
    small_picture_encoder: Encoder | None = None  # for pictures below NVENC's minimum size

    def for_size(self, width: int, height: int) -> Encoder:
        """Itself, or the encoder for pictures below NVENC's minimum size, if there is one."""
        fits = width >= _MIN_WIDTH and height >= _MIN_HEIGHT
        return self if self.small_picture_encoder is None or fits else self.small_picture_encoder

    def open(self, context: Any) -> None:
        """Open a codec context, waiting while other processes have all of the GPU's sessions.

        Raises:
            VideoError: FFmpeg cannot open the encoder, or no session became free within
                ``session_timeout_s``; the reason is ``encoder``.
        """
        deadline, pause_s = time.monotonic() + self.session_timeout_s, _FIRST_PAUSE_S
        while messages := try_open(context):
            if not all_sessions_taken(messages):
                raise self.open_error(messages)
            if time.monotonic() + pause_s > deadline:
                raise VideoError(
                    f"found no free session of the GPU's encoder for {self.session_timeout_s:g} s: give it "
                    f"longer with trim.timeout_s, or lower trim.workers",
                    "encoder",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def as_dict(self) -> dict[str, Any]:
        """Everything that decides how a clip looks, as plain data; the proof log stores it."""
        small = self.small_picture_encoder and self.small_picture_encoder.as_dict()
        return {**super().as_dict(), "small": small}


def nvenc(*, cq: int, session_timeout_s: float, small_picture_encoder: Encoder | None = None) -> NvencEncoder:
    """NVENC at a constant quality (lower: better), with sources decoded on the GPU.

    Without B-frames: FFmpeg derives their decoding times from the mean frame rate, and where the rate
    varies a frame would have to be decoded after it is displayed, which MP4 cannot represent.
    """
    return NvencEncoder(
        "h264_nvenc",
        {"preset": "p4", "rc": "vbr", "cq": str(cq), "bf": "0"},
        hwaccel="cuda",
        session_timeout_s=session_timeout_s,
        small_picture_encoder=small_picture_encoder,
    )


def all_sessions_taken(messages: Iterable[str]) -> bool:
    """Whether FFmpeg's error messages say that the GPU has an encoder, but no free session at the moment."""
    return any(part in message for message in messages for part in _NO_FREE_SESSION)
