"""What each proof says of damaged and of sound H.264 files: FFmpeg, NVDEC, and the parser of ``trim=nvdec``.

    python -m benchmarks.damage [--files 3000] [--sound 500] [--work DIR] [--no-gpu] [--again NAME,NAME]

Bases are encoded with about forty x264 settings, and damaged inside their NAL units, so that the MP4 around
them stays intact. Everything follows from the number of a file. Verdicts are saved as they come: those that
the JSON file has already are kept, so that a run can be stopped, and continued on another machine with the
same JSON file and, best, the same ``--work``.

The exit code is 1 if the parser passed a file that FFmpeg refused, if its two builds differ, or if it
refused a sound file.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from rich.console import Console
from rich.table import Table

from asl.codecs.decoder import decode_file
from asl.codecs.video_file import VideoError, open_video, video_stream
from asl.files import temp_path
from asl.machine import available_cores
from asl.preprocess.gpu.cuda import Device
from asl.preprocess.gpu.h264.bitstream import read_bitstream
from asl.preprocess.gpu.h264.layout import ABOVE_BYTES, RESULT
from asl.preprocess.gpu.h264.prover import GpuSliceParser, SliceParser, prove
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error
from asl.preprocess.gpu.h264.source import parser_source
from asl.preprocess.gpu.nvdec.decoder import NvDecoder
from asl.preprocess.gpu.nvdec.stream_format import NvdecError
from asl.workers import Done, Workers, run_each

ROOT = Path(__file__).resolve().parent.parent
SEED = 264
GRAIN = 4.0  # standard deviation of the noise in grey levels
TIMEOUT_S = 60.0  # for a batch of files
UNSUPPORTED = "unsupported: "  # begins the verdict on a file that is left to the host's decoder
BROKEN = "broken: "  # begins the verdict of a proof that crashed, hung or raised an unexpected exception


class Setting(NamedTuple):
    """How a video is encoded. Bases are of this size and length."""

    width: int
    height: int
    frames: int
    preset: str
    profile: str
    params: str  # x264's own
    grain: float = GRAIN


SETTINGS = {
    "ultrafast": Setting(640, 480, 40, "ultrafast", "", ""),
    "superfast": Setting(640, 480, 40, "superfast", "high", "crf=21"),
    "veryfast": Setting(1280, 720, 30, "veryfast", "high", "crf=21"),
    "faster": Setting(854, 480, 30, "faster", "high", ""),
    "medium": Setting(640, 360, 50, "medium", "high", ""),
    "slow": Setting(640, 480, 40, "slow", "high", ""),
    "veryslow": Setting(320, 240, 60, "veryslow", "high", "crf=26"),
    "medium-1080p": Setting(1920, 1080, 20, "medium", "high", "crf=27"),
    "veryfast-1080p": Setting(1920, 1080, 20, "veryfast", "high", "crf=24"),
    "baseline": Setting(640, 480, 40, "veryfast", "baseline", ""),
    "baseline-ref5": Setting(320, 240, 60, "medium", "baseline", "ref=5:crf=18"),
    "baseline-slices": Setting(640, 480, 30, "medium", "baseline", "slices=4"),
    "main": Setting(640, 480, 40, "medium", "main", ""),
    "main-cavlc": Setting(640, 360, 40, "medium", "main", "cabac=0:bframes=3:b-pyramid=none"),
    "high-cavlc": Setting(640, 480, 40, "slow", "high", "cabac=0:8x8dct=1"),
    "cavlc-temporal": Setting(426, 240, 60, "medium", "high", "cabac=0:direct=temporal:bframes=5:ref=4"),
    "cavlc-intra": Setting(320, 240, 40, "medium", "high", "cabac=0:keyint=1"),
    "no-8x8dct": Setting(640, 480, 40, "medium", "high", "8x8dct=0"),
    "no-b": Setting(640, 480, 40, "medium", "high", "bframes=0"),
    "b-no-pyramid": Setting(426, 240, 60, "medium", "high", "bframes=4:b-pyramid=none:b-adapt=0"),
    "b-strict": Setting(640, 480, 40, "medium", "high", "bframes=8:b-pyramid=strict:b-adapt=0"),
    "b-pyramid": Setting(640, 480, 40, "medium", "high", "bframes=7:b-pyramid=normal:b-adapt=0:ref=6"),
    "spatial": Setting(640, 360, 40, "medium", "high", "direct=spatial:bframes=6:b-adapt=0:weightb=0"),
    "temporal": Setting(640, 360, 40, "medium", "high", "direct=temporal:bframes=6:b-adapt=0"),
    "no-direct": Setting(320, 240, 60, "slow", "high", "direct=none:bframes=3"),
    "weightp0": Setting(640, 480, 40, "medium", "high", "weightp=0:weightb=0:mixed-refs=0"),
    "weightp1": Setting(640, 480, 40, "medium", "high", "weightp=1:bframes=0:ref=4"),
    "weightp2": Setting(640, 480, 40, "medium", "high", "weightp=2:ref=4"),
    "ref1": Setting(640, 480, 40, "medium", "high", "ref=1"),
    "ref8": Setting(426, 240, 60, "medium", "high", "ref=8:bframes=0:crf=19"),
    "ref16": Setting(320, 240, 60, "slow", "high", "ref=16:bframes=5"),
    "slices4": Setting(1280, 720, 20, "fast", "high", "slices=4"),
    "slice-size": Setting(640, 480, 30, "medium", "high", "slice-max-size=500"),
    "slice-mbs": Setting(320, 240, 40, "medium", "main", "slice-max-mbs=37:cabac=0"),
    "crf10": Setting(426, 240, 30, "medium", "high", "crf=10"),
    "crf35": Setting(1280, 720, 40, "medium", "high", "crf=35"),
    "qp1-pcm": Setting(176, 144, 20, "slow", "high", "qp=1:no-psy=1", 25.0),
    "qp1-pcm-cavlc": Setting(176, 144, 20, "slow", "main", "qp=1:no-psy=1:cabac=0", 25.0),
    "intra-refresh": Setting(640, 480, 40, "medium", "high", "intra-refresh=1:keyint=12"),
    "keyint1": Setting(640, 480, 20, "medium", "high", "keyint=1"),
    "keyint12": Setting(640, 480, 40, "medium", "high", "keyint=12:min-keyint=2"),
    "constrained-intra": Setting(640, 480, 40, "medium", "high", "constrained-intra=1"),
    "no-deblock": Setting(640, 480, 40, "medium", "high", "no-deblock=1"),
    "deblock": Setting(640, 480, 40, "medium", "high", "deblock=-3,4"),
    "partitions": Setting(426, 240, 40, "slower", "high", "partitions=all:crf=16:subme=9"),
    "open-gop": Setting(640, 480, 40, "medium", "high", "open-gop=1:keyint=10:bframes=3"),
    "aud-hrd": Setting(640, 480, 40, "medium", "high", "aud=1:nal-hrd=vbr:vbv-maxrate=1500:vbv-bufsize=1500"),
    "pic-struct": Setting(640, 480, 30, "fast", "high", "pic-struct=1:aud=1:keyint=15"),
    "scaling": Setting(640, 480, 30, "medium", "high", "cqm=jvt"),
    "chroma-qp": Setting(640, 480, 30, "medium", "high", "chroma-qp-offset=-6:aq-mode=3:aq-strength=2"),
    # Of kinds that the parser may leave to the host.
    "interlaced": Setting(640, 480, 20, "medium", "high", "tff=1"),
    "fake-interlaced": Setting(640, 480, 20, "medium", "high", "fake-interlaced=1"),
    "lossless": Setting(320, 240, 10, "medium", "", "qp=0"),
}
SOUND_SIZES = (
    *((320, 240), (640, 480), (426, 240), (1280, 720), (640, 360), (854, 480), (176, 144), (1920, 1080)),
    *((98, 68), (480, 640), (1002, 564), (64, 48)),
)


# ---------------------------------------------------------------- sound files


@dataclass(frozen=True)
class Video:
    """A file to encode."""

    folder: Path
    name: str
    setting: Setting
    seed: int

    @property
    def path(self) -> Path:
        """Its name tells of all that it is made from."""
        tag = hashlib.blake2b(repr((self.setting, self.seed)).encode(), digest_size=4).hexdigest()
        return self.folder / f"{self.name}_{tag}.mp4"


def encode(video: Video) -> None:
    """Draw and encode it in one thread: an MP4 whose index comes first, so that a cut file opens."""
    width, height, frames, preset, profile, params, grain = video.setting
    options = {"preset": preset, "x264-params": params}
    if profile:
        options["profile"] = profile
    target = video.path
    part = temp_path(target)
    with av.open(str(part), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = options
        for planes in draw(width, height, frames, video.seed, grain):
            for packet in stream.encode(VideoFrame.from_ndarray(planes, format="yuv420p")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    part.replace(target)


def draw(width: int, height: int, frames: int, seed: int, grain: float) -> Iterator[np.ndarray]:
    """Planes of yuv420p pictures with something for every tool of the encoder.

    A fading and moving wall with fine texture, a fast figure, noise everywhere but in a still strip on the
    left, and a change of scene after two thirds.
    """
    rng = np.random.default_rng([SEED, seed])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    noisy = (x > 0.25).astype(np.float32) * np.float32(grain)
    texture = 12 * np.sin(90 * x) * np.sin(70 * y)
    for number in range(frames):
        t = number / 25
        scene = seed + 2 * (number >= 2 * frames // 3)
        moving = np.where(x > 0.25, t, 0)
        picture = 105 + 45 * np.sin(3 * x + scene + 0.6 * moving) * np.cos(2 * y + scene) + texture
        picture *= 1 - 0.4 * max(0.0, 1 - 4 * t)  # a fade from dark in the first 10 frames
        figure = np.zeros_like(picture)
        for k in range(3):
            cx = 0.8 + 0.4 * np.sin(4.1 * t + 2 * k + scene)
            cy = 0.55 + 0.3 * np.cos(3.7 * t + k)
            figure += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.012)
        picture += 90 * figure + noisy * rng.standard_normal(picture.shape, np.float32)
        small = figure[::2, ::2]
        chroma = np.stack([118 + 50 * small, 136 - 40 * small + 10 * np.sin(3 * x[::2, ::2] + t)])
        chroma += noisy[::2, ::2] / 2 * rng.standard_normal(chroma.shape, np.float32)
        planes = np.concatenate([picture.reshape(-1), chroma.reshape(-1)])
        yield planes.clip(1, 254).astype(np.uint8).reshape(-1, width)


def base_videos(folder: Path, count: int) -> list[Video]:
    """The first ``count`` settings, at their own size."""
    return [
        Video(folder, name, setting, seed)
        for seed, (name, setting) in enumerate(list(SETTINGS.items())[:count])
    ]


def sound_videos(folder: Path, count: int) -> list[Video]:
    """Short videos of all settings in many sizes and qualities."""
    settings, videos = list(SETTINGS.values()), []
    for i in range(count):
        setting = settings[i % len(settings)]
        width, height = SOUND_SIZES[(i + i // len(settings)) % len(SOUND_SIZES)]
        params = setting.params
        if "qp=" not in params and "crf=" not in params:
            params = f"{params}:crf={12 + i * 7 % 27}".lstrip(":")
        frames = 8 if width * height > 10**6 else 10 + i % 15
        setting = setting._replace(width=width, height=height, frames=frames, params=params)
        videos.append(Video(folder, f"{i:04d}", setting, 1000 + i))
    return videos


def encode_missing(videos: Sequence[Video]) -> None:
    """Encode the files that are not there yet, the longest first."""
    for folder in {video.folder for video in videos}:
        folder.mkdir(parents=True, exist_ok=True)
    missing = [video for video in videos if not video.path.exists()]
    for ended in run_each(encode, sorted(missing, key=lambda v: -v.setting.frames * v.setting.width)):
        if not isinstance(ended, Done):
            raise RuntimeError(f"{ended.task.path.name}: {ended.message}")


# ---------------------------------------------------------------- damage


@dataclass(frozen=True)
class Nal:
    """Where a NAL unit lies in its file, without the length before it."""

    start: int
    size: int
    type: int
    sample: int  # -1: in the header's avcC box

    @property
    def is_slice(self) -> bool:
        return self.type in (1, 5)

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class File:
    """An MP4 and its NAL units, parameter sets first."""

    data: bytes
    nals: tuple[Nal, ...]

    @property
    def slices(self) -> list[Nal]:
        return [nal for nal in self.nals if nal.is_slice]

    def samples(self) -> list[list[bytes]]:
        """The NAL units of each sample."""
        samples: list[list[bytes]] = [[] for _ in range(self.nals[-1].sample + 1)]
        for nal in self.nals:
            if nal.sample >= 0:
                samples[nal.sample].append(self.data[nal.start : nal.end])
        return samples


@lru_cache(maxsize=4)
def read_file(path: Path) -> File:
    """A base and where its NAL units lie."""
    data = path.read_bytes()
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        packets = [packet for packet in container.demux(stream) if packet.size]
        nals = list(_parameter_sets(extradata, data.index(extradata)))
        for sample, packet in enumerate(packets):
            assert packet.pos is not None
            start, end = packet.pos, packet.pos + packet.size
            while start < end:
                size = int.from_bytes(data[start : start + 4], "big")
                nals.append(Nal(start + 4, size, data[start + 4] & 31, sample))
                start += 4 + size
            assert start == end
    return File(data, tuple(nals))


def _parameter_sets(box: bytes, offset: int) -> Iterator[Nal]:
    """The SPS and PPS of an avcC box that lies at ``offset``."""
    at = 5
    for mask in (31, 255):
        count, at = box[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(box[at : at + 2], "big")
            yield Nal(offset + at + 2, size, box[at + 2] & 31, -1)
            at += 2 + size


def remux(file: File, samples: Sequence[Sequence[bytes]]) -> bytes:
    """The MP4 with other contents of its samples, written anew; time stamps are kept."""
    target = io.BytesIO()
    with av.open(io.BytesIO(file.data)) as source, av.open(target, "w", format="mp4") as output:
        stream = source.streams.video[0]
        written = output.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size]
        for packet, nals in zip(packets, samples, strict=True):
            content = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
            changed = av.Packet(content)
            changed.pts, changed.dts, changed.duration = packet.pts, packet.dts, packet.duration
            changed.time_base, changed.is_keyframe = packet.time_base, packet.is_keyframe
            changed.stream = written
            output.mux(changed)
    return target.getvalue()


_HEADER = 8  # bytes of a slice that may belong to its header
_AUD = b"\x09\xf0"  # an access unit delimiter: what stands in for the only NAL unit of a sample


def _choose_slice(file: File, rng: np.random.Generator, least: int) -> Nal:
    """Any slice of at least so many bytes, or the largest one."""
    large = [nal for nal in file.slices if nal.size >= least]
    return large[rng.integers(len(large))] if large else max(file.slices, key=lambda nal: nal.size)


def _overwritten(file: File, start: int, new: bytes) -> bytes:
    return file.data[:start] + new + file.data[start + len(new) :]


def _flip(file: File, at: int, rng: np.random.Generator) -> bytes:
    return _overwritten(file, at, bytes([file.data[at] ^ 1 << int(rng.integers(8))]))


def _change(file: File, at: int, rng: np.random.Generator) -> bytes:
    return _overwritten(file, at, bytes([file.data[at] ^ int(rng.integers(1, 256))]))


def _flip_or_change(file: File, nal: Nal, rng: np.random.Generator) -> bytes:
    return (_flip, _change)[rng.integers(2)](file, int(rng.integers(nal.start, nal.end)), rng)


def _in_slice(file: File, rng: np.random.Generator, size: int) -> tuple[Nal, int]:
    """A slice and a place in its data with ``size`` bytes behind it."""
    nal = _choose_slice(file, rng, _HEADER + size)
    first = nal.start + min(_HEADER, nal.size // 2)
    return nal, int(rng.integers(first, max(first + 1, nal.end - size + 1)))


def one_bit(file: File, rng: np.random.Generator) -> bytes:
    return _flip(file, _in_slice(file, rng, 1)[1], rng)


def one_byte(file: File, rng: np.random.Generator) -> bytes:
    return _change(file, _in_slice(file, rng, 1)[1], rng)


def random_bytes(file: File, rng: np.random.Generator) -> bytes:
    nal, at = _in_slice(file, rng, 16)
    return _overwritten(file, at, rng.bytes(min(16, nal.end - at)))


def zero_bytes(file: File, rng: np.random.Generator) -> bytes:
    nal, at = _in_slice(file, rng, 64)
    return _overwritten(file, at, bytes(min(64, nal.end - at)))


def zero_tail(file: File, rng: np.random.Generator) -> bytes:
    nal, at = _in_slice(file, rng, 1)
    return _overwritten(file, at, bytes(nal.end - at))


def header_byte(file: File, rng: np.random.Generator) -> bytes:
    nal = _choose_slice(file, rng, 1)
    at = int(rng.integers(nal.start, nal.start + min(6, nal.size)))
    return (_flip, _change)[rng.integers(2)](file, at, rng)


def _unit(kind: int) -> Callable[[File, np.random.Generator], bytes]:
    """Damage in a NAL unit of a type."""

    def change(file: File, rng: np.random.Generator) -> bytes:
        units = [nal for nal in file.nals if nal.type == kind]
        return _flip_or_change(file, units[rng.integers(len(units))], rng)

    return change


def _places(samples: Sequence[Sequence[bytes]]) -> list[tuple[int, int]]:
    """Where the slices are: sample and position in it."""
    return [
        (sample, i)
        for sample, nals in enumerate(samples)
        for i, nal in enumerate(nals)
        if nal[0] & 31 in (1, 5)
    ]


def cut_tail(file: File, rng: np.random.Generator) -> bytes:
    """A slice is shortened, half the time by at most 4 bytes."""
    samples = file.samples()
    places = _places(samples)
    sample, i = places[rng.integers(len(places))]
    nal = samples[sample][i]
    least = len(nal) - 4 if rng.integers(2) else len(nal) // 4
    samples[sample][i] = nal[: int(rng.integers(max(2, least), len(nal)))]
    return remux(file, samples)


def swap(file: File, rng: np.random.Generator) -> bytes:
    """Two slices that follow each other change places."""
    samples = file.samples()
    places = _places(samples)
    k = int(rng.integers(len(places) - 1))
    (a, i), (b, j) = places[k : k + 2]
    samples[a][i], samples[b][j] = samples[b][j], samples[a][i]
    return remux(file, samples)


def drop(file: File, rng: np.random.Generator) -> bytes:
    """A slice is left out; its sample stays."""
    samples = file.samples()
    places = _places(samples)
    sample, i = places[rng.integers(len(places))]
    del samples[sample][i]
    samples[sample] = samples[sample] or [_AUD]
    return remux(file, samples)


def duplicate(file: File, rng: np.random.Generator) -> bytes:
    """A slice comes twice in its sample."""
    samples = file.samples()
    places = _places(samples)
    sample, i = places[rng.integers(len(places))]
    samples[sample].insert(i, samples[sample][i])
    return remux(file, samples)


def cut_file(file: File, rng: np.random.Generator) -> bytes:
    """The file ends somewhere in its samples, half the time in its last kilobyte."""
    first = file.nals[2].start if rng.integers(2) else len(file.data) - 1000
    return file.data[: int(rng.integers(max(first, file.nals[2].start), len(file.data)))]


DAMAGE: dict[str, Callable[[File, np.random.Generator], bytes]] = {
    "one bit": one_bit,
    "one byte": one_byte,
    "16 random bytes": random_bytes,
    "64 zero bytes": zero_bytes,
    "tail of a slice zeroed": zero_tail,
    "tail of a slice cut": cut_tail,
    "slice header": header_byte,
    "slices swapped": swap,
    "slice dropped": drop,
    "slice duplicated": duplicate,
    "SPS": _unit(7),
    "PPS": _unit(8),
    "SEI": _unit(6),
    "file cut off": cut_file,
}
SOUND = "sound"
REMUXED = "sound, written anew"  # by the function that some damage goes through


@dataclass(frozen=True)
class Case:
    """One file to judge."""

    number: int
    kind: str  # of DAMAGE, SOUND or REMUXED
    base: Path  # the file it is made from; the file itself if it is sound
    digest: str  # of that file

    @property
    def key(self) -> str:
        """The name of its verdicts, which other content does not share."""
        return f"{self.kind}/{self.number}/{self.digest}"

    @property
    def is_sound(self) -> bool:
        return self.kind not in DAMAGE

    def content(self) -> bytes:
        """The bytes of the file, the same each time."""
        if self.kind == SOUND:
            return self.base.read_bytes()
        file = read_file(self.base)
        if self.kind == REMUXED:
            return remux(file, file.samples())
        rng = np.random.default_rng([SEED, self.number])
        for _ in range(100):
            data = DAMAGE[self.kind](file, rng)
            if data != file.data:
                return data
        raise RuntimeError(f"{self.base.name}: {self.kind} changes nothing")


def make_cases(bases: Sequence[Path], sound: Sequence[Path], files: int) -> list[Case]:
    """All files of a run: each kind of damage in each base in turn, and the sound ones."""
    kinds = list(DAMAGE)
    digest = {
        path: hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest() for path in [*bases, *sound]
    }

    def case(number: int, kind: str, path: Path) -> Case:
        return Case(number, kind, path, digest[path])

    damaged = [case(i, kinds[i % len(kinds)], bases[i // len(kinds) % len(bases)]) for i in range(files)]
    written = [case(i, REMUXED, path) for i, path in enumerate(bases)]
    return [*damaged, *written, *(case(i, SOUND, path) for i, path in enumerate(sound))]


# ---------------------------------------------------------------- proofs


def by_ffmpeg(cases: Sequence[Case], paths: Sequence[Path], _: Path | None) -> list[dict[str, Any]]:
    """FFmpeg's verdicts, strict and stricter, and whether the pictures are the base's."""
    return [_by_ffmpeg(case, path) for case, path in zip(cases, paths, strict=True)]


def _by_ffmpeg(case: Case, path: Path) -> dict[str, Any]:
    meant = None if case.kind == SOUND else pictures_of(case.base)
    strict, pictures = _decode_strictly(path, "explode")
    stricter, others = _decode_strictly(path, "explode+aggressive")
    if meant is None:
        return {"ffmpeg": strict, "aggressive": stricter, "harmless": False}
    count = f"gave another number of frames than {len(meant)}"
    strict = strict or (count if len(pictures) != len(meant) else "")
    stricter = stricter or (count if len(others) != len(meant) else "")
    harmless = (pictures_of(path) if strict else pictures) == meant
    return {"ffmpeg": strict, "aggressive": stricter, "harmless": harmless}


def _decode_strictly(path: Path, err_detect: str) -> tuple[str, list[bytes]]:
    """What is wrong with a file by ``decode_file``, and digests of its pictures until then."""

    def stream_of(container: InputContainer) -> VideoStream:
        stream = video_stream(container)
        stream.codec_context.options = {"err_detect": err_detect}
        return stream

    pictures: list[bytes] = []
    try:
        with patch("asl.codecs.decoder.video_stream", stream_of):
            decode_file(path, on_frame=lambda frame, _: pictures.append(_digest(frame)))
    except VideoError as error:
        return str(error), pictures
    return "", pictures


@lru_cache(maxsize=2)
def pictures_of(path: Path) -> list[bytes]:
    """Digests of a file's pictures as FFmpeg decodes them by default, until it stops with an error."""
    pictures: list[bytes] = []
    with suppress(av.FFmpegError), av.open(str(path), metadata_errors="ignore") as container:
        container.streams.video[0].codec_context.thread_count = 1
        pictures.extend(_digest(frame) for frame in container.decode(video=0))
    return pictures


def _digest(frame: VideoFrame) -> bytes:
    if frame.format.name != "yuv420p":
        return frame.format.name.encode()
    return hashlib.blake2b(frame.to_ndarray().tobytes(), digest_size=16).digest()


def by_host(_: Sequence[Case], paths: Sequence[Path], library: Path | None) -> list[dict[str, Any]]:
    """The verdicts of the parser built by a host compiler."""
    return [{"host": verdict} for verdict in _by_parser(paths, "host", library)]


def by_gpu(_: Sequence[Case], paths: Sequence[Path], library: Path | None) -> list[dict[str, Any]]:
    """The verdicts of the parser on the GPU."""
    return [{"gpu": verdict} for verdict in _by_parser(paths, "gpu", library)]


def _by_parser(paths: Sequence[Path], build: str, library: Path | None) -> list[str]:
    """Each file's verdict: empty, what is wrong, or UNSUPPORTED and why."""
    verdicts: list[str] = []
    read = []
    for path in paths:
        try:
            extradata, packets = _read_packets(path)
            read.append(read_bitstream(extradata, packets))
            verdicts.append("")
        except UnsupportedH264Error as error:
            verdicts.append(f"{UNSUPPORTED}{error}")
        except (H264Error, VideoError) as error:
            verdicts.append(str(error))
    proven = iter(prove(read, _parser(build, library)) if read else ())
    for i, verdict in enumerate(verdicts):
        if not verdict:
            one = next(proven)
            verdicts[i] = "" if one.ok else (UNSUPPORTED if one.unsupported else "") + one.reason
    return verdicts


def _read_packets(path: Path) -> tuple[bytes, list[bytes]]:
    """Extradata and packets of a file. Raises VideoError if it has fewer packets than its index says."""
    with open_video(path) as container:
        stream = video_stream(container)
        packets = [packet for packet in container.demux(stream) if packet.size]
        if any(packet.is_corrupt for packet in packets) or len(packets) != stream.frames:
            raise VideoError("is cut off")
        return stream.codec_context.extradata or b"", [bytes(packet) for packet in packets]


@cache
def _parser(build: str, library: Path | None) -> SliceParser:
    """The parser: on the GPU, or the library that a host compiler made of its source."""
    if build == "gpu":
        return GpuSliceParser(_device())
    assert library is not None
    return _HostSliceParser(library)


class _HostSliceParser:
    """Calls the parser's host build like the one on the GPU."""

    def __init__(self, library: Path) -> None:
        self._parse = ctypes.CDLL(str(library)).parse_slices
        self._parse.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_uint32]
        self._parse.restype = None

    def __call__(
        self, data: Sequence[bytes], slices: npt.NDArray[np.void], params: npt.NDArray[np.void]
    ) -> npt.NDArray[np.void]:
        words = np.frombuffer(b"".join(data), np.uint32)
        results = np.zeros(len(slices), RESULT)
        rows = np.zeros(int(params["mb_width"].max()) * ABOVE_BYTES, np.uint8)
        arrays = (words, np.ascontiguousarray(slices), np.ascontiguousarray(params), results, rows)
        self._parse(*(array.ctypes.data for array in arrays), len(slices))
        return results


def build_parser(folder: Path) -> Path | None:
    """Compile the parser's source for this machine. None if there is no C++ compiler.

    Raises:
        RuntimeError: the source is wrong; the message holds the compiler's.
    """
    compiler = next(filter(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")), None)
    if compiler is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    code, library = folder / "parser.cpp", folder / "parser.so"
    code.write_text(parser_source(), encoding="utf-8")
    command = [compiler, "-std=c++17", "-O2", "-fPIC", "-shared", str(code), "-o", str(library)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} fails:\n{result.stderr}")
    return library


def by_nvdec(_: Sequence[Case], paths: Sequence[Path], __: Path | None) -> list[dict[str, Any]]:
    """What NVDEC says of the pictures that it decoded."""
    return [{"nvdec": _by_nvdec(path)} for path in paths]


def _by_nvdec(path: Path) -> str:
    try:
        with open_video(path) as container:
            stream = video_stream(container)
            to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
            packets = [bytes(one) for packet in container.demux(stream) for one in to_annex_b.filter(packet)]
            count = stream.frames
        clip = _nvdec().decode([one for one in packets if one], "h264", _ignore, wanted=_none)
    except (VideoError, NvdecError) as error:
        return str(error)
    except (av.FFmpegError, ValueError) as error:
        return f"cannot be read: {error}"
    if clip.bad_pictures:
        return f"{len(clip.bad_pictures)} bad pictures"
    return "" if clip.num_pictures == count else f"gave {clip.num_pictures} of {count} pictures"


def _ignore(_: object) -> None:
    """No picture is needed."""


def _none(_: int) -> bool:
    return False


@cache
def _nvdec() -> NvDecoder:
    return NvDecoder(_device())


@cache
def _device() -> Device:
    return Device(0)


Proof = Callable[[Sequence[Case], Sequence[Path], "Path | None"], list[dict[str, Any]]]


class Judge(NamedTuple):
    """A proof and how it is run."""

    proof: Proof
    fields: tuple[str, ...]  # of its verdicts
    batch: int  # files at once
    processes: int | None


JUDGES = {
    "ffmpeg": Judge(by_ffmpeg, ("ffmpeg", "aggressive", "harmless"), 16, None),
    "host": Judge(by_host, ("host",), 32, None),
    "gpu": Judge(by_gpu, ("gpu",), 128, 2),
    "nvdec": Judge(by_nvdec, ("nvdec",), 32, 2),
}


@dataclass(frozen=True)
class Batch:
    """Files for one process."""

    name: str  # of JUDGES
    cases: tuple[Case, ...]
    library: Path | None


def judge(batch: Batch) -> list[dict[str, Any]]:
    """Write the files of a batch to a temporary folder and judge them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.mp4" for i in range(len(batch.cases))]
        for path, case in zip(paths, batch.cases, strict=True):
            path.write_bytes(case.content())
        return JUDGES[batch.name].proof(batch.cases, paths, batch.library)


def judge_all(
    name: str, cases: Sequence[Case], library: Path | None, verdicts: dict[str, dict[str, Any]], save: Any
) -> None:
    """Add the verdicts of one proof on all files that lack them; ``save`` is called now and then.

    Files of a batch that fails are judged one by one. One that fails alone gets the failure as its verdict.
    """
    proof = JUDGES[name]
    todo = sorted(
        (case for case in cases if proof.fields[0] not in verdicts.get(case.key, {})),
        key=lambda case: (case.base, case.number),
    )
    batches = [
        Batch(name, tuple(todo[i : i + proof.batch]), library) for i in range(0, len(todo), proof.batch)
    ]
    saved = time.monotonic()
    with Workers(min(proof.processes or available_cores(), max(1, len(batches)))) as pool:
        while batches:
            singles: list[Batch] = []
            for ended in pool.run_each(judge, batches, timeout_s=TIMEOUT_S):
                if isinstance(ended, Done):
                    found = ended.result
                elif len(ended.task.cases) > 1:
                    singles += [Batch(name, (case,), library) for case in ended.task.cases]
                    continue
                else:
                    found = [dict.fromkeys(proof.fields, BROKEN + ended.message)]
                    found[0] |= {"harmless": False} if "harmless" in proof.fields else {}
                for case, verdict in zip(ended.task.cases, found, strict=True):
                    verdicts.setdefault(case.key, {"kind": case.kind, "base": case.base.stem}).update(verdict)
                if time.monotonic() - saved > 10:
                    save()
                    saved = time.monotonic()
            batches = singles


# ---------------------------------------------------------------- results


def parser_verdicts(verdict: dict[str, Any]) -> list[str]:
    return [verdict[name] for name in ("gpu", "host") if name in verdict]


def is_missed(verdict: dict[str, Any]) -> bool:
    """FFmpeg refused it, and a build of the parser passed it."""
    return bool(verdict.get("ffmpeg")) and "" in parser_verdicts(verdict)


def differs(verdict: dict[str, Any]) -> bool:
    """The two builds of the parser disagree."""
    return len(set(parser_verdicts(verdict))) > 1


def is_falsely_refused(verdict: dict[str, Any]) -> bool:
    """A sound file that the parser refused."""
    refused = [one for one in parser_verdicts(verdict) if one and not one.startswith(UNSUPPORTED)]
    return verdict["kind"] not in DAMAGE and bool(refused)


def summarize(verdicts: Sequence[dict[str, Any]]) -> dict[str, int | None]:
    """Numbers of files. None: nobody judged them."""

    def refused(name: str) -> int | None:
        there = [one[name] for one in verdicts if name in one]
        return sum(bool(one) and not one.startswith(UNSUPPORTED) for one in there) if there else None

    parsed = [one for one in verdicts if parser_verdicts(one)]
    return {
        "files": len(verdicts),
        **{name: refused(name) for name in ("ffmpeg", "aggressive", "nvdec", "gpu", "host")},
        "unsupported": sum(parser_verdicts(one)[0].startswith(UNSUPPORTED) for one in parsed)
        if parsed
        else None,
        "missed": sum(map(is_missed, verdicts)) if parsed else None,
        "differ": sum(map(differs, verdicts)) if parsed else None,
        "harmless": sum(one.get("harmless", False) for one in verdicts),
    }


_TITLES = {
    "files": "files",
    "ffmpeg": "FFmpeg",
    "aggressive": "aggressive",
    "nvdec": "NVDEC",
    "gpu": "parser (GPU)",
    "host": "parser (host)",
    "unsupported": "left to the host",
    "missed": "missed by the parser",
    "differ": "builds differ",
    "harmless": "same pictures",
}


def show(verdicts: dict[str, dict[str, Any]], console: Console) -> dict[str, dict[str, int | None]]:
    """Print the table of refused files; returns its numbers."""
    kinds = [*DAMAGE, "all damaged", REMUXED, SOUND]
    table = Table(title="files refused", title_justify="left")
    for title in ("", *_TITLES.values()):
        table.add_column(title, justify="right" if title else "left", no_wrap=not title)
    rows = {}
    for kind in kinds:
        damaged = kind == "all damaged"
        members = [
            one for one in verdicts.values() if (one["kind"] in DAMAGE if damaged else one["kind"] == kind)
        ]
        rows[kind] = summarize(members)
        numbers = ["" if rows[kind][name] is None else str(rows[kind][name]) for name in _TITLES]
        table.add_row(kind, *numbers, end_section=kind in (list(DAMAGE)[-1], "all damaged"))
    console.print(table)
    return rows


def keep(cases: Sequence[Case], folder: Path) -> list[str]:
    """Write files that need a look to a folder; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for case in cases:
        names.append(f"{case.kind.replace(' ', '_').replace(',', '')}_{case.number}.mp4")
        (folder / names[-1]).write_bytes(case.content())
    return names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=3000, help="damaged ones")
    parser.add_argument(
        "--bases", type=int, default=len(SETTINGS), help="how many of the settings are damaged"
    )
    parser.add_argument("--sound", type=int, default=500, help="sound files, besides the bases")
    parser.add_argument(
        "--gpu",
        action=argparse.BooleanOptionalAction,
        help="ask the GPU; default: if there is NVIDIA's driver",
    )
    parser.add_argument("--only", default="", help=f"of {', '.join(JUDGES)}, separated by commas")
    parser.add_argument("--again", default="", help="likewise: judge once more")
    parser.add_argument("--work", type=Path, help="keep bases and sound files here, and take them from here")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/damage.json")
    args = parser.parse_args()
    only, again = ([name for name in text.split(",") if name] for text in (args.only, args.again))
    unknown = {*only, *again} - set(JUDGES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such proof; there are {', '.join(JUDGES)}")
    if args.gpu is None:
        args.gpu = ctypes.util.find_library("cuda") is not None
    names = only or ["ffmpeg", "host", *(["gpu", "nvdec"] if args.gpu else [])]

    console = Console(width=None if sys.stdout.isatty() else 150)
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        library = build_parser(work) if "host" in names else None
        if "host" in names and library is None:
            console.print("no C++ compiler: nothing is asked of the parser's host build")
            names.remove("host")
        started = time.perf_counter()
        bases = base_videos(work / "bases", args.bases)
        sound = sound_videos(work / "sound", args.sound)
        encode_missing([*bases, *sound])
        cases = make_cases([one.path for one in bases], [one.path for one in sound], args.files)
        console.print(f"bases and sound files: {time.perf_counter() - started:.0f} s")

        results = _earlier(args.json)
        verdicts: dict[str, dict[str, Any]] = results["verdicts"]
        for name in again:
            for verdict in verdicts.values():
                for field in JUDGES[name].fields:
                    verdict.pop(field, None)

        def save() -> None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(results, indent=1))

        for name in names:
            started = time.perf_counter()
            judge_all(name, cases, library, verdicts, save)
            console.print(f"{name}: {time.perf_counter() - started:.0f} s")
            save()

        mine = {case.key: verdicts[case.key] for case in cases}
        results["table"] = show(mine, console)
        wanted = [
            case
            for case in cases
            if is_missed(mine[case.key]) or differs(mine[case.key]) or is_falsely_refused(mine[case.key])
        ]
        broken = Counter(
            f"{name}: {text}"
            for verdict in mine.values()
            for name, text in verdict.items()
            if isinstance(text, str) and text.startswith(BROKEN)
        )
        for text, count in broken.most_common():
            console.print(f"{count} x {text}", markup=False)
        results["kept"] = keep(wanted, args.json.with_suffix("")) if wanted else []
        for case, name in zip(wanted, results["kept"], strict=True):
            console.print(f"{name} ({case.base.stem}): {mine[case.key]}", markup=False, soft_wrap=True)
        save()
    sys.exit(1 if wanted else 0)


def _earlier(path: Path) -> dict[str, Any]:
    """The results of an earlier run; else empty ones."""
    try:
        results: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {"verdicts": {}}
    return results


if __name__ == "__main__":
    main()
