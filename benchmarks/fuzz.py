"""Damaged slices through the parser of ``asl/preprocess/gpu/h264``: accesses out of bounds, endless loops.

    python -m benchmarks.fuzz [--slices 100000] [--seed 0] [--no-sanitize] [--work DIR]
    compute-sanitizer --tool memcheck python -m benchmarks.fuzz --gpu --no-sanitize --slices 10000

Slices of clips in many settings are damaged in many ways, and get parameters of other clips or any that
``parameter_sets.py`` lets through. A program of the parser's source, built with AddressSanitizer and
UndefinedBehaviorSanitizer, parses each of them with buffers of exactly its size, twice: in memory full of
zeros and in memory full of other values, which must give the same result. With ``--gpu``, a GPU parses them,
too, and must give the same results as the program.

The same seed gives the same slices, if x264 makes the same clips, which their digest tells. The exit code is
1 if anything was found. The slice then lies in ``--work``, with the program that reads it:
``DIR/fuzz_sanitized < DIR/slice_12345``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from asl.machine import available_cores
from asl.preprocess.gpu.cuda import Device, GpuError
from asl.preprocess.gpu.h264.bitstream import Bitstream, read_bitstream
from asl.preprocess.gpu.h264.layout import ABOVE_BYTES, PARAMS, RESULT, SLICE, Reason
from asl.preprocess.gpu.h264.prover import GpuSliceParser, SliceParser
from asl.preprocess.gpu.h264.source import parser_source
from benchmarks.host_parser import NoCompilerError, find_compiler

ROOT = Path(__file__).resolve().parent.parent
BATCH = 2000  # slices
LIMIT_S = 30  # for one slice; the slowest takes a fraction of a second

_SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_PLAIN = ("-O2",)
_MAX_MACROBLOCKS, _MAX_SIDE = 139_264, 1056  # of parameter_sets.py


# ---------------------------------------------------------------- slices of sound clips


class Setting(NamedTuple):
    """How a clip is encoded."""

    params: str  # x264's own
    size: tuple[int, int] = (176, 144)
    frames: int = 6
    grain: float = 6  # standard deviation of the noise in grey levels

    @property
    def all_params(self) -> str:
        """A constant QP and no weights unless named: x264 then nearly always writes the same stream."""
        return f"qp=22:weightp=0:{self.params}"


SETTINGS = {
    "cabac": Setting(""),
    "cavlc": Setting("cabac=0"),
    "no 8x8": Setting("8x8dct=0"),
    "8x8, cavlc": Setting("cabac=0:8x8dct=1:partitions=all"),
    "all partitions": Setting("partitions=all:subme=9:me=umh:ref=4"),
    "all partitions, cavlc": Setting("partitions=all:subme=9:me=umh:ref=4:cabac=0"),
    "slices": Setting("slices=4"),
    "slices, cavlc": Setting("slices=3:cabac=0"),
    "slices from mid-row": Setting("slice-max-mbs=17"),
    "slices from mid-row, cavlc": Setting("slice-max-mbs=7:cabac=0:bframes=3:b-adapt=0"),
    "small slices": Setting("slice-max-size=200"),
    "small slices, cavlc": Setting("slice-max-size=200:cabac=0"),
    "B pyramid": Setting("bframes=5:b-adapt=0:b-pyramid=normal:ref=8", frames=12),
    "B pyramid, cavlc": Setting("bframes=5:b-adapt=0:b-pyramid=normal:ref=8:cabac=0", frames=12),
    "strict pyramid": Setting("bframes=8:b-adapt=0:b-pyramid=strict", frames=12),
    "temporal direct": Setting("direct=temporal:bframes=4:b-adapt=0", frames=8),
    "temporal direct, cavlc": Setting("direct=temporal:bframes=4:b-adapt=0:cabac=0", frames=8),
    "spatial direct, cavlc": Setting("direct=spatial:bframes=4:b-adapt=0:cabac=0", frames=8),
    "B partitions": Setting("partitions=all:bframes=3:b-adapt=0:subme=9:weightb=1:qp=14", frames=8),
    "B partitions, cavlc": Setting("partitions=all:bframes=3:b-adapt=0:subme=9:qp=14:cabac=0", frames=8),
    "weights": Setting("weightp=2:weightb=1:bframes=3", frames=8),
    "weights, cavlc": Setting("weightp=2:weightb=1:bframes=3:cabac=0", frames=8),
    "16 references": Setting("ref=16:bframes=0", frames=20),
    "baseline": Setting("cabac=0:bframes=0:8x8dct=0:weightp=0:ref=3"),
    "intra only": Setting("keyint=1"),
    "intra only, cavlc": Setting("keyint=1:cabac=0"),
    "intra refresh": Setting("intra-refresh=1:keyint=6", frames=8),
    "constrained intra": Setting("constrained-intra=1"),
    "constrained intra, cavlc": Setting("constrained-intra=1:cabac=0"),
    "open GOP": Setting("open-gop=1:keyint=5:bframes=3:b-adapt=0", frames=12),
    "QP 1": Setting("qp=1", frames=3),
    "QP 1, cavlc": Setting("qp=1:cabac=0", frames=3),
    "lossless": Setting("qp=0", (64, 48), 3),
    "lossless, cavlc": Setting("qp=0:cabac=0", (64, 48), 3),
    "PCM": Setting("qp=1", (64, 48), 3, grain=150),
    "PCM, cavlc": Setting("qp=1:cabac=0", (64, 48), 3, grain=150),
    "QP 35": Setting("qp=35"),
    "QP 35, cavlc": Setting("qp=35:cabac=0"),
    "QP 51": Setting("qp=51"),
    "scaling lists": Setting("cqm=jvt"),
    "no deblocking": Setting("no-deblock=1"),
    "deblocking offsets": Setting("deblock=-3,4:cabac=0"),
    "one column": Setting("cabac=0", (16, 96)),
    "one macroblock": Setting("", (16, 16), 8),
    "odd size": Setting("slices=2", (98, 68)),
    "320x240": Setting("bframes=3", (320, 240)),
    "320x240, cavlc": Setting("bframes=3:cabac=0:slices=4", (320, 240)),
    "640x480": Setting("slices=8", (640, 480), 4),
    "640x480, cavlc": Setting("slice-max-size=1400:cabac=0", (640, 480), 4),
    "640x480, still": Setting("bframes=2", (640, 480), 8, grain=0),
}


@dataclass(frozen=True)
class Base:
    """One slice of a sound clip."""

    unit: bytes  # its NAL unit, unescaped
    record: npt.NDArray[np.void]  # () SLICE
    params: npt.NDArray[np.void]  # () PARAMS


Bases = Sequence[Sequence[Base]]  # by clip


def make_bases(names: Iterable[str] = SETTINGS) -> Bases:
    """The slices of clips in the named settings."""
    return [_slices_of(_encode(SETTINGS[name])) for name in names]


def digest_of(bases: Bases) -> str:
    """Says whether the clips are those of another run."""
    units = b"".join(base.unit for clip in bases for base in clip)
    return hashlib.blake2b(units, digest_size=4).hexdigest()


def _slices_of(stream: Bitstream) -> list[Base]:
    bases = []
    for record in stream.slices:
        start = 4 * int(record["first_word"])
        unit = stream.data[start : start + int(record["last_bit"]) // 8 + 1]
        bases.append(Base(unit, record, stream.params[record["params"]]))
    return bases


def _encode(setting: Setting) -> Bitstream:
    """A clip of a moving blob before a noisy wall."""
    width, height = setting.size
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"x264-params": setting.all_params})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # more threads would cut pictures into slices
        for i in range(setting.frames):
            centre = width * (0.5 + 0.3 * np.sin(i / 3)), height * (0.5 + 0.3 * np.cos(i / 2))
            blob = 90 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (height / 8) ** 2)
            noise = rng.normal(0, setting.grain, (height, width))
            picture = 100 + 40 * np.sin(3 * x / height) + blob + noise - 3 * i
            rgb = np.stack([picture, 0.9 * picture, 255 - picture], -1).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(io.BytesIO(file.getvalue())) as clip:
        video = clip.streams.video[0]
        packets = [packet for packet in clip.demux(video) if packet.size]
        times = [packet.pts or 0 for packet in packets]
        return read_bitstream(video.codec_context.extradata or b"", list(map(bytes, packets)), times)


# ---------------------------------------------------------------- damage


@dataclass(frozen=True)
class Batch:
    """Slices for the parser, each with parameters of its own."""

    number: int  # of the first slice
    parts: list[bytes]  # one a slice, of whole words
    slices: npt.NDArray[np.void]  # (S,) SLICE
    params: npt.NDArray[np.void]  # (S,) PARAMS
    kind: str = "slice"  # begins the names of saved files

    def part(self, start: int, end: int) -> bytes:
        """Slices as the program reads them: record, parameters and words of one after the other."""
        records = self.slices.copy()
        records["first_word"] = records["params"] = 0
        return b"".join(
            records[i].tobytes() + self.params[i].tobytes() + self.parts[i] for i in range(start, end)
        )


def sound_batch(bases: Bases) -> Batch:
    """The slices as they are."""
    slices = [(base.unit, base.record.copy(), base.params.copy()) for clip in bases for base in clip]
    return replace(_batch(0, slices), kind="sound_slice")


def damaged_batch(bases: Bases, seed: int, number: int, count: int) -> Batch:
    """Slices ``number`` to ``number + count - 1`` of a seed."""
    return _batch(number, [_damage(bases, random.Random(f"{seed} {number + i}")) for i in range(count)])


def _batch(number: int, slices: Sequence[tuple[bytes, Any, Any]]) -> Batch:
    parts, records, params, word = [], [], [], 0
    for index, (unit, record, values) in enumerate(slices):
        words = int(record["num_words"])
        record["first_word"], record["params"] = word, index
        parts.append(unit[: 4 * words].ljust(4 * words, b"\0"))
        records.append(record)
        params.append(values)
        word += words
    return Batch(number, parts, np.array(records, SLICE), np.array(params, PARAMS))


def _pick(bases: Bases, rng: random.Random) -> Base:
    return rng.choice(rng.choice(bases))


def _damage(bases: Bases, rng: random.Random) -> tuple[bytes, Any, Any]:
    """A damaged slice: its NAL unit, its SLICE and its PARAMS."""
    base = _pick(bases, rng)
    params, record = _damaged_params(bases, base, rng), base.record.copy()
    unit = bytearray(base.unit)
    if rng.random() < 0.1:
        _change_first_mb(unit, rng, int(params["mb_width"]) * int(params["mb_height"]))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_DAMAGES)(unit, rng)
    if rng.random() < 0.05:
        _splice(unit, rng, _pick(bases, rng).unit)
    if rng.random() < 0.1:
        record["nal_unit_type"], record["nal_ref_idc"] = rng.choice(((1, 0), (1, 1), (5, 3)))
    # As read_bitstream() does, so that the last byte is not 0
    unit = bytearray(bytes(unit).rstrip(b"\0").ljust(2, b"\x80"))
    record["num_words"] = -(-len(unit) // 4)
    record["last_bit"] = 8 * len(unit) - (unit[-1] & -unit[-1]).bit_length()
    if rng.random() < 0.05:  # fewer words than the last bit says
        record["num_words"] = rng.randrange(int(record["num_words"]) + 1)
    elif rng.random() < 0.05:
        record["last_bit"] = rng.choice((0, 8, rng.randrange(8 * len(unit) + 64), 2**32 - 1))
    return bytes(unit), record, params


def _flip_bits(unit: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        unit[rng.randrange(len(unit))] ^= 1 << rng.randrange(8)


def _flip_header(unit: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 3))):
        unit[rng.randrange(1, min(len(unit), 16))] ^= 1 << rng.randrange(8)


def _change_bytes(unit: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4))):
        unit[rng.randrange(len(unit))] = rng.randrange(256)


def _fill(unit: bytearray, rng: random.Random) -> None:
    """Other bytes, zeros or ones in a row, at times up to the end."""
    start = rng.randrange(1, len(unit))
    length = min(rng.choice((2, 4, 16, 64, len(unit))), len(unit) - start)
    fill = rng.choice((rng.randbytes(length), bytes(length), b"\xff" * length))
    unit[start : start + length] = fill


def _cut(unit: bytearray, rng: random.Random) -> None:
    del unit[rng.randrange(2, len(unit) + 1) :]


def _cut_out(unit: bytearray, rng: random.Random) -> None:
    start = rng.randrange(1, len(unit))
    del unit[start : start + rng.choice((1, 2, 7, 32))]
    unit += bytes(2 - min(len(unit), 2))


def _extend(unit: bytearray, rng: random.Random) -> None:
    length = 4 * rng.choice((1, 1, 2, 2, 8, 8, 64, 64, 512, 4096))
    unit += rng.choice((rng.randbytes(length), bytes(length - 1) + b"\x80", b"\xff" * length))


def _insert_code(unit: bytearray, rng: random.Random) -> None:
    """An Exp-Golomb code anywhere; many bits behind it then mean something else."""
    size, length = 8 * len(unit), rng.choice((1, 3, 5, 9, 17, 33, 63))
    at = rng.randrange(8, size + 1)
    value, rest = int.from_bytes(unit, "big"), size - at
    code = rng.randrange(1 << length // 2, 2 << length // 2)
    value = (value >> rest << length | code) << rest | value & (1 << rest) - 1
    size += length
    unit[:] = (value << -size % 8).to_bytes(-(-size // 8), "big")


def _splice(unit: bytearray, rng: random.Random, other: bytes) -> None:
    """The beginning of one slice and the end of another."""
    unit[rng.randrange(1, len(unit)) :] = other[rng.randrange(1, len(other)) :]


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip_bits, _flip_bits, _flip_header, _change_bytes, _change_bytes),
    *(_fill, _fill, _cut, _cut_out, _extend, _insert_code),
)


def _change_first_mb(unit: bytearray, rng: random.Random, total: int) -> None:
    """Another first_mb_in_slice: in and behind the picture, and the largest codes that there are."""
    size = 8 * len(unit)
    value = int.from_bytes(unit, "big")
    zeros = size - 8 - (value & (1 << (size - 8)) - 1).bit_length()
    rest = size - 8 - (2 * zeros + 1)  # bits behind the code
    if rest <= 0:
        return
    edges = (0, 1, total // 2, total - 1, total, _MAX_MACROBLOCKS, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
    first = max(rng.choice((*edges, rng.randrange(total))), 0) + 1
    length = 2 * first.bit_length() - 1
    value = (value >> (size - 8) << length | first) << rest | value & (1 << rest) - 1
    size = 8 + length + rest
    unit[:] = (value << -size % 8).to_bytes(-(-size // 8), "big")


def _damaged_params(bases: Bases, base: Base, rng: random.Random) -> Any:
    """The slice's own parameters, those of another slice, or values that parameter_sets.py lets through."""
    kind = rng.random()
    if kind < 0.55:
        return base.params.copy()
    if kind < 0.75:
        return _pick(bases, rng).params.copy()
    params = base.params.copy()
    names = list(_LEGAL) if kind > 0.9 else rng.sample(list(_LEGAL), rng.choice((1, 2, 4)))
    for name in names:
        params[name] = rng.randint(*_LEGAL[name])
    if kind > 0.82:
        params["mb_width"], params["mb_height"] = _picture_size(rng)
    return params


_FLAG = (0, 1)
_LEGAL = {
    "log2_max_frame_num": (4, 16),
    "pic_order_cnt_type": (0, 2),
    "log2_max_pic_order_cnt_lsb": (4, 16),
    "delta_pic_order_always_zero": _FLAG,
    "direct_8x8_inference": _FLAG,
    "cabac": _FLAG,
    "bottom_field_pic_order": _FLAG,
    "weighted_pred": _FLAG,
    "weighted_bipred_idc": (0, 2),
    "pic_init_qp": (0, 51),
    "deblocking_control_present": _FLAG,
    "constrained_intra_pred": _FLAG,
    "redundant_pic_cnt_present": _FLAG,
    "transform_8x8_mode": _FLAG,
    "num_refs_l0": (1, 16),
    "num_refs_l1": (1, 16),
}


def _picture_size(rng: random.Random) -> tuple[int, int]:
    """Width and height in macroblocks."""
    width = rng.choice((1, 2, 3, rng.randint(1, 80), rng.randint(1, _MAX_SIDE), _MAX_SIDE))
    most = min(_MAX_SIDE, _MAX_MACROBLOCKS // width)
    return width, rng.choice((1, 2, rng.randint(1, most), most))


# ---------------------------------------------------------------- the program


#: Behind the parser's source: lets the other file call it without its types.
_BRIDGE = """
extern "C" unsigned state_bytes() { return sizeof(State); }
extern "C" void parse_one(void* state, const void* words, const void* slice, const void* params, void* row,
                          void* result)
{
    parse_slice((State*)state, (const uint32_t*)words, (const Slice*)slice, (const Params*)params,
                (Above*)row, (Result*)result);
}
"""

#: A file of its own, as the parser's source has type names that the system's headers may have, too.
_MAIN = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern "C" unsigned state_bytes();
extern "C" void parse_one(void* state, const void* words, const void* slice, const void* params, void* row,
                          void* result);

static void* filled(int value, size_t size) { return memset(malloc(size), value, size); }

static double now()
{
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// Reads slices from the standard input, and writes a result and the microseconds of each of them.
int main()
{
    static unsigned slice[SLICE_BYTES / 4];
    while (fread(slice, SLICE_BYTES, 1, stdin) == 1) {
        size_t num_words = slice[1];
        int* params = (int*)malloc(PARAMS_BYTES);
        unsigned* words = (unsigned*)malloc(4 * num_words);
        if (fread(params, PARAMS_BYTES, 1, stdin) != 1 || fread(words, 4, num_words, stdin) != num_words) {
            return 2;
        }
        unsigned char output[RESULT_BYTES + 4];
        double begin = now();
        alarm(LIMIT_S);
        for (int fill = 0; fill < 2; fill++) {
            int value = fill ? 0xA5 : 0;
            void* state = filled(value, state_bytes());
            void* row = filled(value, (size_t)params[0] * ABOVE_BYTES);
            void* result = filled(value, RESULT_BYTES);
            parse_one(state, words, slice, params, row, result);
            if (fill && memcmp(output, result, RESULT_BYTES) != 0) {
                fprintf(stderr, "the result depends on memory that nobody has written\\n");
                return 3;
            }
            memcpy(output, result, RESULT_BYTES);
            free(state);
            free(row);
            free(result);
        }
        alarm(0);
        unsigned microseconds = (unsigned)(1e6 * (now() - begin) / 2);
        memcpy(output + RESULT_BYTES, &microseconds, 4);
        if (write(1, output, sizeof output) != (ssize_t)sizeof output) {
            return 2;
        }
        free(params);
        free(words);
    }
    return 0;
}
"""

_OUTPUT = np.dtype([("result", RESULT), ("microseconds", np.uint32)])


def build_program(folder: Path, *, sanitize: bool, source: str | None = None) -> Path:
    """Compile the program that parses slices.

    Args:
        folder: where it is written.
        sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer.
        source: the parser's, if it is another than :func:`parser_source` gives.

    Raises:
        NoCompilerError: there is no compiler, or none with sanitizers.
        RuntimeError: the source is wrong; the message holds the compiler's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flags = _SANITIZERS if sanitize else _PLAIN
    command = [*find_compiler(), "-std=c++17", *flags]
    sizes = {"SLICE": SLICE.itemsize, "PARAMS": PARAMS.itemsize, "RESULT": RESULT.itemsize}
    defines = [f"-D{name}_BYTES={size}" for name, size in {**sizes, "ABOVE": ABOVE_BYTES}.items()]
    empty, parser, main = folder / "empty.cpp", folder / "parser.cpp", folder / "main.cpp"
    empty.write_text("int main() { return 0; }\n", encoding="utf-8")
    parser.write_text((source or parser_source()) + _BRIDGE, encoding="utf-8")
    main.write_text(_MAIN, encoding="utf-8")
    trial, program = folder / "empty", folder / ("fuzz_sanitized" if sanitize else "fuzz_plain")
    built = _run([*command, str(empty), "-o", str(trial)])
    if built.returncode or _run([str(trial)]).returncode:
        raise NoCompilerError(f"{shlex.join(command)} makes no program that runs: {built.stderr.strip()}")
    command += [*defines, f"-DLIMIT_S={LIMIT_S}", str(parser), str(main), "-o", str(program)]
    built = _run(command)
    if built.returncode:
        raise RuntimeError(f"{shlex.join(command)} fails:\n{built.stderr}")
    return program


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Parsed:
    """What the program gave: as many results as slices, or fewer and what was wrong with the next one."""

    results: npt.NDArray[np.void]  # RESULT
    microseconds: npt.NDArray[np.uint32]
    error: str = ""


def parse(program: Path, batch: Batch) -> Parsed:
    """Parse the slices of a batch by the program."""
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    ended = subprocess.run(
        [str(program)],
        input=batch.part(0, len(batch.parts)),
        capture_output=True,
        env={**os.environ, **options},
        check=False,
    )
    output = np.frombuffer(ended.stdout[: len(ended.stdout) // _OUTPUT.itemsize * _OUTPUT.itemsize], _OUTPUT)
    error = ""
    if ended.returncode == -signal.SIGALRM:
        error = f"a slice takes more than {LIMIT_S} s"
    elif ended.returncode or len(output) != len(batch.parts):
        said = ended.stderr.decode(errors="replace").strip()
        error = f"the program ended with {ended.returncode}\n{said}".strip()
    return Parsed(output["result"], output["microseconds"], error)


# ---------------------------------------------------------------- batches


@dataclass
class Summary:
    """What the batches gave together."""

    slices: int = 0
    reasons: Counter[tuple[bool, int]] = field(default_factory=Counter)  # by (cabac, Reason)
    slowest: tuple[int, int, int] = (0, 0, 0)  # microseconds, macroblocks and bytes of a slice
    errors: list[str] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        self.slices += other.slices
        self.reasons += other.reasons
        self.slowest = max(self.slowest, other.slowest)
        self.errors += other.errors


def run_batch(
    batch: Batch, work: Path, program: Path | None, gpu: SliceParser | None, *, sound: bool = False
) -> Summary:
    """Parse a batch by the program and on the GPU. A slice that one of them fails on is saved.

    Args:
        batch: the slices.
        work: where to save it.
        program: see :func:`build_program`; None: only the GPU.
        gpu: the parser on the GPU; None: only the program.
        sound: whether the slices have to be found sound.
    """
    summary = Summary()
    parsed = None if program is None else parse(program, batch)
    if parsed is not None:
        if parsed.error:
            summary.errors.append(_save(work, batch, len(parsed.results), parsed.error))
        if len(parsed.results):
            at = int(parsed.microseconds.argmax())
            result = parsed.results[at]
            macroblocks = max(int(result["end_mb"]) - int(result["first_mb"]), 0)
            summary.slowest = int(parsed.microseconds[at]), macroblocks, len(batch.parts[at])
    results = np.empty(0, RESULT) if parsed is None else parsed.results
    if gpu is not None:
        try:
            on_gpu = gpu(batch.parts, batch.slices, batch.params)
        except GpuError as error:
            summary.errors.append(_save(work, batch, None, f"GPU: {error}"))
            return summary
        differs = np.flatnonzero(results != on_gpu[: len(results)])
        if len(differs):
            i = int(differs[0])
            found = f"{len(differs)} results differ, the first one: {results[i]}, on the GPU {on_gpu[i]}"
            summary.errors.append(_save(work, batch, i, found))
        results = on_gpu
    bad = np.flatnonzero(results["reason"])
    if sound and len(bad):
        reason = Reason(int(results["reason"][bad[0]]))
        summary.errors.append(_save(work, batch, int(bad[0]), f"a sound slice is refused: {reason}"))
    summary.slices = len(results)
    cabac = batch.params["cabac"][: len(results)] != 0
    summary.reasons.update(zip(cabac.tolist(), results["reason"].tolist(), strict=True))
    return summary


def _save(work: Path, batch: Batch, index: int | None, error: str) -> str:
    """Write a slice, or all of a batch, for the program to read. Returns the error with the file's name."""
    name = f"{batch.kind}s_from_{batch.number}" if index is None else f"{batch.kind}_{batch.number + index}"
    start, end = (0, len(batch.parts)) if index is None else (index, index + 1)
    (work / name).write_bytes(batch.part(start, end))
    (work / f"{name}.txt").write_text(f"{error}\n", encoding="utf-8")
    return f"{work / name}: {error}"


def run_damaged(
    bases: Bases, slices: int, seed: int, run: Callable[[Batch], Summary], threads: int
) -> Iterable[Summary]:
    """Run damaged slices in batches, and give the summary of each batch as it comes."""

    def one(number: int) -> Summary:
        return run(damaged_batch(bases, seed, number, min(BATCH, slices - number)))

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(one, range(0, slices, BATCH))


# ---------------------------------------------------------------- the report


def print_summary(summary: Summary) -> None:
    table = Table(title=f"Damaged slices, {platform.processor() or platform.machine()}", title_justify="left")
    table.add_column("result")
    for name in ("CABAC", "CAVLC"):
        table.add_column(name, justify="right")
    for reason in Reason:
        counts = [summary.reasons[cabac, reason.value] for cabac in (True, False)]
        table.add_row(str(reason), *(f"{count:,}" for count in counts))
    Console().print(table)
    microseconds, macroblocks, size = summary.slowest
    if microseconds:
        print(f"slowest slice: {microseconds / 1e6:.3f} s, {macroblocks:,} macroblocks in {size:,} bytes")


def verdict(*, sanitize: bool, program: bool, gpu: bool) -> str:
    """What was seen of slices without an error."""
    parts = []
    if program and sanitize:
        parts.append("no access out of bounds, no undefined behaviour, no endless loop")
    elif program:
        parts.append("no crash, no endless loop")
    if gpu:
        parts.append("the GPU gave the same results" if program else "the GPU gave results")
    return "; ".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpu", action="store_true", help="on a GPU, too")
    parser.add_argument("--no-compare", action="store_true", help="only on the GPU")
    parser.add_argument("--sanitize", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks/out/fuzz")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/fuzz.json")
    args = parser.parse_args()
    if args.no_compare and not args.gpu:
        parser.error("--no-compare needs --gpu")
    args.work.mkdir(parents=True, exist_ok=True)
    program = None if args.no_compare else build_program(args.work, sanitize=args.sanitize)
    gpu = GpuSliceParser(Device(0), exact=True) if args.gpu else None

    bases = make_bases()
    digest = digest_of(bases)
    print(f"{sum(map(len, bases)):,} slices of {len(bases)} clips, digest {digest}")
    run = partial(run_batch, work=args.work, program=program, gpu=gpu)
    started = time.perf_counter()
    total = run(sound_batch(bases), sound=True)
    total.slices, total.reasons = 0, Counter()  # only damaged ones are counted
    threads = 1 if gpu is not None else available_cores()
    batches = run_damaged(bases, args.slices, args.seed, run, threads)
    for summary in track(batches, "damaged slices", total=-(-args.slices // BATCH)):
        total.add(summary)
    seconds = time.perf_counter() - started

    print_summary(total)
    result = {
        "slices": total.slices,
        "bases": digest,
        "seed": args.seed,
        "sanitize": args.sanitize and program is not None,
        "gpu": args.gpu,
        "seconds": seconds,
        "slowest": total.slowest,
        "errors": total.errors,
        "reasons": {
            reason.name: [total.reasons[c, reason.value] for c in (True, False)] for reason in Reason
        },
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    for error in total.errors:
        print(error, file=sys.stderr)
    if not total.errors and total.slices != args.slices:
        total.errors.append(f"{total.slices} slices were parsed, not {args.slices}")
    found = (
        f"{len(total.errors)} errors, the first one: {total.errors[0].splitlines()[0]}"
        if total.errors
        else ""
    )
    seen = verdict(sanitize=args.sanitize, program=program is not None, gpu=args.gpu)
    print(f"{total.slices:,} slices in {seconds:.0f} s: {found or seen}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
