"""Writes one raw video as sites, phones and cameras leave them: containers, codecs, rates, damage.

The demo's counterpart of a download. Deterministic: the same :class:`RawFile` gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from asl.demo.signer import Signer, Take, draw

_VARIABLE_TICK = Fraction(1, 1000)  # of time stamps with a variable rate: what Matroska can hold
_AUDIO_RATE = 48_000
_OPTIONS = {
    # Slower presets look ahead, and then the bytes differ from run to run at such odd sizes.
    "libx264": {"preset": "superfast", "crf": "22"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"},
    "mpeg4": {"qscale": "3", "global_quality": "354", "flags": "+qscale"},
}
_MUXERS = {".mkv": "matroska", ".webm": "webm", ".avi": "avi", ".mov": "mov", ".mp4": "mp4"}


@dataclass(frozen=True)
class Format:
    """How a raw file holds its pictures."""

    suffix: str = ".mp4"
    codec: str = "libx264"  # the encoder's name in FFmpeg
    pix_fmt: str = "yuv420p"
    fps: Fraction | None = Fraction(30000, 1001)  # None: variable
    size: tuple[int, int] = (144, 108)  # width, height as a person sees it
    rotation: int = 0  # degrees clockwise by which a player turns the stored picture
    audio: str | None = None  # encoder's name

    @property
    def can_be_copied(self) -> bool:
        """Its packets are what a clip must be: H.264, yuv420p, even size, upright."""
        even = self.size[0] % 2 == self.size[1] % 2 == 0
        return (self.codec, self.pix_fmt) == ("libx264", "yuv420p") and even and not self.rotation


@dataclass(frozen=True)
class RawFile:
    """One file of the raw folder, and all that is needed to write it."""

    path: str  # relative to the raw folder
    format: Format
    signer: Signer
    takes: tuple[Take, ...]
    duration_s: float  # about: the last frame ends at the first frame time from here on
    damage: str | None = None  # "bytes" overwritten in the middle, "cut off", or a "web page" instead
    seed: int = 0  # of the variable rate and of the damage


def frame_times(raw: RawFile) -> list[Fraction]:
    """When each frame is shown, in seconds from the first."""
    if raw.format.fps is not None:
        count = max(2, round(raw.duration_s * raw.format.fps))
        return [i / raw.format.fps for i in range(count)]
    rng = np.random.default_rng([raw.seed, 2])
    ticks = [0]
    # Like a phone that halves its rate in the dark: from 20 to 50 ms, drifting, with a stall or two.
    while ticks[-1] * _VARIABLE_TICK < raw.duration_s:
        drift = 35 + 15 * math.sin(len(ticks) / 9 + raw.seed)
        stall = 90 if rng.random() < 0.02 else 0
        ticks.append(ticks[-1] + int(drift) + stall + int(rng.integers(0, 4)))
    return [tick * _VARIABLE_TICK for tick in ticks[:-1]]


def write_raw_file(raw: RawFile, path: Path) -> None:
    """Draw, encode and, if asked for, damage ``raw`` at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = frame_times(raw)
    with av.open(
        str(path), "w", format=_MUXERS[raw.format.suffix], container_options={"fflags": "+bitexact"}
    ) as container:
        _encode(container, raw, times)
    if raw.format.rotation:
        _set_rotation(path, raw.format.rotation, raw.format.size)
    if raw.damage == "bytes":
        _overwrite_middle(path, raw.seed)
    elif raw.damage == "cut off":
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"moov") // 2])
    elif raw.damage == "web page":
        path.write_text("<html><body>404 Not Found</body></html>\n")


def read_times(path: Path) -> list[Fraction]:
    """When each frame of a file is shown, in seconds from the first, as its container has it.

    Containers round: Matroska to milliseconds. Nothing is decoded.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        tick = Fraction(stream.time_base or 0)
        return [(pts - shown[0]) * tick for pts in shown]


def is_damaged(path: Path) -> bool:
    """A strict decoder objects to the file."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}
            return any(frame.is_corrupt for frame in container.decode(stream))
    except av.FFmpegError:
        return True


def _encode(container: OutputContainer, raw: RawFile, times: list[Fraction]) -> None:
    form = raw.format
    tick = _VARIABLE_TICK if form.fps is None else 1 / form.fps
    stream = container.add_stream(
        form.codec, rate=Fraction(30) if form.fps is None else form.fps, options=dict(_OPTIONS[form.codec])
    )
    assert isinstance(stream, VideoStream)
    stored_size = form.size if form.rotation % 180 == 0 else form.size[::-1]
    stream.width, stream.height = stored_size
    stream.pix_fmt = form.pix_fmt
    stream.codec_context.thread_count = 1  # files are written side by side, one process a core
    stream.codec_context.time_base = tick
    stream.codec_context.gop_size = 50
    # Streams have to be known before the first packet is written.
    sound = container.add_stream(form.audio, rate=_AUDIO_RATE) if form.audio else None
    for number, time in enumerate(times):
        upright = draw(raw.signer, raw.takes, float(time), number, *form.size)
        stored = np.ascontiguousarray(np.rot90(upright, form.rotation // 90))
        frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
        frame.pts, frame.time_base = int(time / tick), tick
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    if sound is not None:
        assert isinstance(sound, AudioStream)
        for tone in _tone(float(times[-1])):
            container.mux(sound.encode(tone))
        container.mux(sound.encode())


def _tone(duration_s: float) -> Iterator[av.AudioFrame]:
    """A quiet 440 Hz in frames of 20 ms."""
    samples = _AUDIO_RATE // 50
    for number in range(math.ceil(duration_s * 50)):
        phase = (np.arange(samples) + number * samples) * 2 * math.pi * 440 / _AUDIO_RATE
        wave = (2000 * np.sin(phase)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = _AUDIO_RATE, number * samples
        frame.time_base = Fraction(1, _AUDIO_RATE)
        yield frame


def _set_rotation(path: Path, rotation: int, size: tuple[int, int]) -> None:
    """Set the display matrix in an MP4's or MOV's track header, as a phone does.

    Written into the bytes, as PyAV learnt to set it only lately.
    """
    one, minus = 1 << 16, 0xFFFF0000
    turn = {90: (0, one, minus, 0), 180: (minus, 0, 0, minus), 270: (0, minus, one, 0)}[rotation]
    # After the turn the picture is moved back into sight.
    move = {90: (size[0] << 16, 0), 180: (size[0] << 16, size[1] << 16), 270: (0, size[1] << 16)}[rotation]
    matrix = (turn[0], turn[1], 0, turn[2], turn[3], 0, *move, 1 << 30)
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    at = header + (52 if content[header] == 1 else 40)  # version 1 has 64-bit times
    content[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    path.write_bytes(bytes(content))


def _overwrite_middle(path: Path, seed: int) -> None:
    """Put noise over the middle of an MP4's pictures, until a decoder notices."""
    rng = np.random.default_rng([seed, 3])
    whole = path.read_bytes()
    start = whole.index(b"mdat") + 4
    size = int.from_bytes(whole[start - 8 : start - 4], "big") - 8
    for share in (0.2, 0.3, 0.4, 0.5):
        length = int(share * size)
        at = start + (size - length) // 2
        path.write_bytes(whole[:at] + rng.bytes(length) + whole[at + length :])
        if is_damaged(path):
            return
    raise RuntimeError(f"{path}: no damage that a decoder notices")
