"""Damaged and sound H.264 files for ``benchmarks/damage.py``, each the same whenever it is made.

Bases are encoded with about fifty x264 settings, and damaged inside their NAL units, so that the MP4 around
them stays intact. Everything follows from the number of a file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame

from asl.files import temp_path
from asl.workers import Done, run_each

SEED = 264
GRAIN = 4.0  # standard deviation of the noise in grey levels


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
