"""Writes a raw video as sites, phones and cameras produce them: containers, codecs, frame rates, damage.

Deterministic: the same :class:`RawFile` gives the same bytes.
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

from asl.codecs.video_file import strict_options
from asl.demo.signer import Performance, Signer, render_frame

_VARIABLE_TICK = Fraction(1, 1000)  # time base of variable rates: the resolution of Matroska
_AUDIO_RATE = 48_000
_OPTIONS = {
    # Slower presets use lookahead, with which the bytes differ between runs at such small sizes.
    "libx264": {"preset": "superfast", "crf": "22"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "28", "b": "0"},
    "mpeg4": {"qscale": "3", "global_quality": "354", "flags": "+qscale"},
}
_MUXERS = {".mkv": "matroska", ".webm": "webm", ".avi": "avi", ".mov": "mov", ".mp4": "mp4"}


@dataclass(frozen=True)
class Format:
    """Container, codec and picture format of a raw file."""

    suffix: str = ".mp4"
    codec: str = "libx264"  # the encoder's name in FFmpeg
    pix_fmt: str = "yuv420p"
    fps: Fraction | None = Fraction(30000, 1001)  # None: variable
    size: tuple[int, int] = (144, 108)  # width, height, upright
    rotation: int = 0  # degrees clockwise by which a player rotates the stored picture
    audio: str | None = None  # the encoder's name in FFmpeg; None: no sound

    @property
    def can_be_copied(self) -> bool:
        """Whether a clip can use its packets as they are: H.264, yuv420p, even size, upright."""
        even = self.size[0] % 2 == self.size[1] % 2 == 0
        return (self.codec, self.pix_fmt) == ("libx264", "yuv420p") and even and not self.rotation


@dataclass(frozen=True)
class RawFile:
    """A file of the raw folder, with everything needed to write it."""

    path: str  # relative to the raw folder
    format: Format
    signer: Signer
    performances: tuple[Performance, ...]
    duration_s: float  # approximate: rounded to whole frames
    damage: str | None = None  # "bytes" overwritten in the middle, "cut off", or a "web page" instead
    seed: int = 0  # of variable frame times and of the damage


def frame_times(raw: RawFile) -> list[Fraction]:
    """The time stamp of each frame, in seconds from the first, before the container rounds it."""
    if raw.format.fps is not None:
        count = max(2, round(raw.duration_s * raw.format.fps))
        return [i / raw.format.fps for i in range(count)]
    rng = np.random.default_rng([raw.seed, 2])
    ticks = [0]
    # Like a phone that halves its rate in the dark: 20 to 50 ms a frame, drifting, with a few gaps.
    while ticks[-1] * _VARIABLE_TICK < raw.duration_s:
        drift = 35 + 15 * math.sin(len(ticks) / 9 + raw.seed)
        gap = 90 if rng.random() < 0.02 else 0
        ticks.append(ticks[-1] + int(drift) + gap + int(rng.integers(0, 4)))
    return [tick * _VARIABLE_TICK for tick in ticks[:-1]]


def write_raw_file(raw: RawFile, path: Path) -> None:
    """Render and encode a raw file at ``path``, and damage it if ``raw.damage`` says so."""
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
    """The time stamp of each frame, in seconds from the first, as stored in the container.

    Containers round: Matroska to milliseconds. The file is not decoded.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        tick = Fraction(stream.time_base or 0)
        return [(pts - shown[0]) * tick for pts in shown]


def is_damaged(path: Path) -> bool:
    """Whether a strict decoder reports an error in the file."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = strict_options(stream.codec_context.name)
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
    stream.codec_context.thread_count = 1  # files are written in parallel, one process per core
    stream.codec_context.time_base = tick
    stream.codec_context.gop_size = 50
    # All streams must be added before the first packet is written.
    sound = container.add_stream(form.audio, rate=_AUDIO_RATE) if form.audio else None
    for number, time in enumerate(times):
        upright = render_frame(raw.signer, raw.performances, float(time), number, *form.size)
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
    """A quiet tone of 440 Hz, in audio frames of 20 ms."""
    samples = _AUDIO_RATE // 50
    for number in range(math.ceil(duration_s * 50)):
        phase = (np.arange(samples) + number * samples) * 2 * math.pi * 440 / _AUDIO_RATE
        wave = (2000 * np.sin(phase)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = _AUDIO_RATE, number * samples
        frame.time_base = Fraction(1, _AUDIO_RATE)
        yield frame


def _set_rotation(path: Path, rotation: int, size: tuple[int, int]) -> None:
    """Set the display matrix in the track header of an MP4 or MOV file, as phones do.

    The bytes are replaced in the file, because only recent versions of PyAV can set the matrix.
    """
    one, minus = 1 << 16, 0xFFFF0000
    turn = {90: (0, one, minus, 0), 180: (minus, 0, 0, minus), 270: (0, minus, one, 0)}[rotation]
    # Rotation is about the origin; the picture is then moved back into the visible area.
    move = {90: (size[0] << 16, 0), 180: (size[0] << 16, size[1] << 16), 270: (0, size[1] << 16)}[rotation]
    matrix = (turn[0], turn[1], 0, turn[2], turn[3], 0, *move, 1 << 30)
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    at = header + (52 if content[header] == 1 else 40)  # version 1 has 64-bit times
    content[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    path.write_bytes(bytes(content))


def _overwrite_middle(path: Path, seed: int) -> None:
    """Overwrite the middle of an MP4's media data with noise, more of it until a decoder reports an error."""
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
    raise RuntimeError(f"{path}: no decoder reports the damage")
