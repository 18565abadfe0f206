"""What each proof says of damaged and of sound H.264 files: FFmpeg, NVDEC, and the parser of ``trim=nvdec``.

    python -m benchmarks.damage [--files 3000] [--sound 500] [--work DIR] [--no-gpu] [--again NAME,NAME]

The files are those of ``benchmarks/damaged_files.py``. Verdicts are saved as they come, and those that the
JSON file has already are kept: a run can be stopped and continued, also on another machine with the same JSON
file and ``--work``. A file that is encoded anew is judged anew if it is not the same, byte for byte.

The exit code is 1 if the parser passed a file that FFmpeg refused, if its two builds differ, or if it
refused a sound file.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from rich.console import Console
from rich.table import Table

from asl.codecs.decoder import decode_file
from asl.codecs.packets import read_packets
from asl.codecs.video_file import VideoError, open_video, video_stream
from asl.machine import available_cores
from asl.preprocess.gpu.cuda import Device
from asl.preprocess.gpu.h264.bitstream import read_bitstream
from asl.preprocess.gpu.h264.prover import GpuSliceParser, SliceParser, prove
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error
from asl.preprocess.gpu.h264.source import parser_source
from asl.preprocess.gpu.nvdec.decoder import NvDecoder
from asl.preprocess.gpu.nvdec.stream_format import NvdecError
from asl.workers import Done, Workers
from benchmarks.damaged_files import (
    DAMAGE,
    REMUXED,
    SETTINGS,
    SOUND,
    Case,
    base_videos,
    encode_missing,
    make_cases,
    sound_videos,
)
from benchmarks.host_parser import HostSliceParser, NoCompilerError, find_compiler

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 60.0  # for a batch of files
UNSUPPORTED = "unsupported: "  # begins the verdict on a file that is left to the host's decoder
BROKEN = "broken: "  # begins the verdict of a proof that crashed, hung or raised an unexpected exception


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
            packets = read_packets(path)
            read.append(read_bitstream(packets.extradata, packets.data, packets.ranks))
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


@cache
def _parser(build: str, library: Path | None) -> SliceParser:
    """The parser: on the GPU, or the library that a host compiler made of its source."""
    if build == "gpu":
        return GpuSliceParser(_device())
    assert library is not None
    return HostSliceParser(ctypes.CDLL(str(library)))


def build_parser(folder: Path) -> Path | None:
    """Compile the parser's source for this machine. None if there is no C++ compiler.

    Raises:
        RuntimeError: the source is wrong; the message holds the compiler's.
    """
    try:
        compiler = find_compiler()
    except NoCompilerError:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    code, library = folder / "parser.cpp", folder / "parser.so"
    code.write_text(parser_source(), encoding="utf-8")
    command = [*compiler, "-std=c++17", "-O2", "-fPIC", "-shared", str(code), "-o", str(library)]
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

    def count(holds: Callable[[dict[str, Any]], bool], *needed: str) -> int | None:
        there = [one for one in verdicts if all(name in one for name in needed)]
        return sum(map(holds, there)) if there else None

    parser = next((name for name in ("gpu", "host") if refused(name) is not None), "gpu")
    return {
        "files": len(verdicts),
        **{name: refused(name) for name in ("ffmpeg", "aggressive", "nvdec", "gpu", "host")},
        "unsupported": count(lambda one: one[parser].startswith(UNSUPPORTED), parser),
        "missed": count(is_missed, "ffmpeg", parser),
        "differ": count(differs, "gpu", "host"),
        "harmless": count(lambda one: one["harmless"], "harmless"),
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
