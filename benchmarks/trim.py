"""``preprocess.py`` with its ways of cutting against the plain loop: one ffmpeg libx264 process a clip.

    python -m benchmarks.trim [--clips 2000] [--only loop,cpu,dali,nvdec] [--cores N] [--work DIR]

All cut the same clips in one run: whole files and segments of 320x240, 640x480 and 1280x720 at 25, 29.97
and 30 frames a second, made by this script with a number on every frame. The loop gives clips; asl gives
clips, a proof of each and its frames for training. The results of a GPU are held against those of the CPU.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from asl.codecs.timeline import read_packet_index
from asl.contract.frame_store import FrameSpec, frames_path, open_frames
from asl.contract.paths import Paths
from asl.contract.time_grid import frame_numbers
from asl.datasets.wlasl import segment_span
from asl.demo.frame_number import UnreadableFrameNumberError, read_frame_number
from asl.machine import available_cores
from asl.workers import Failed, run_each
from benchmarks.made_videos import GRAIN, make_set
from benchmarks.preprocess import run_plain_loop

ROOT = Path(__file__).resolve().parent.parent
SPEC = FrameSpec()
WAYS = ("loop", "cpu", "dali", "nvdec")
POLL_S = 0.2
FLAT = 1.1  # memory that grows by less is flat
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6

# ---------------------------------------------------------------- what a run does


def prepare(raw: Path, data: Path, rows: Sequence[dict[str, Any]], trim: str, *more: str) -> list[str]:
    """Make the data folder of a run; returns the command of the run, with ``more`` settings."""
    metadata = data / "metadata" / "bench.json"
    metadata.parent.mkdir(parents=True)
    (data / "raw").symlink_to(raw)
    metadata.write_text(json.dumps(rows))
    command = [sys.executable, str(ROOT / "preprocess.py"), f"trim={trim}", f"paths.data_dir={data}"]
    command += ["dataset.name=bench", f"dataset.metadata={metadata}", "dataset.num_glosses=null"]
    return [*command, "strict=true", *more]


@dataclass(frozen=True)
class Process:
    """A line of the system's table of processes."""

    pid: int
    parent: int
    group: int
    is_zombie: bool
    core_s: float
    memory_mb: float  # resident; what processes share counts for each of them


def processes() -> Iterator[Process]:
    """All processes of this machine (Linux)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            core_s = (int(fields[11]) + int(fields[12])) / _TICKS
            memory_mb = int(fields[21]) * _PAGE_MB
            yield Process(
                int(entry.name), int(fields[1]), int(fields[2]), fields[0] == "Z", core_s, memory_mb
            )


def below(root: int) -> list[Process]:
    """A process and all that descend from it."""
    children: dict[int, list[Process]] = {}
    found = []
    for process in processes():
        children.setdefault(process.parent, []).append(process)
        if process.pid == root:
            found.append(process)
    for process in found:
        found += children.get(process.pid, [])
    return found


class Watch:
    """Watches a run from outside: clips that are done, memory, and processor time.

    Args:
        pid: of the run.
        proof_log: one line a finished clip.
    """

    def __init__(self, pid: int, proof_log: Path) -> None:
        self._pid, self._proof_log = pid, proof_log
        self._core_s: dict[int, float] = {}
        self.progress: list[Progress] = []
        self.memory: list[tuple[float, float]] = []  # seconds, MB of all processes
        self.gpu_memory: list[tuple[float, float]] = []  # seconds, MB of the first GPU
        self._ended = Event()
        self._threads = [Thread(target=self._poll), Thread(target=self._poll_gpu)]

    def __enter__(self) -> Watch:
        self._started = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def core_s(self) -> float:
        """Processor seconds of all processes; of each, what it had used up when it was last seen."""
        return sum(self._core_s.values())

    def _poll(self) -> None:
        clips = pixels = 0
        while not self._ended.wait(POLL_S):
            now = time.perf_counter() - self._started
            for line in read_lines(self._proof_log)[clips:]:
                proof = json.loads(line)["proof"]
                clips += 1
                pixels += proof["width"] * proof["height"] * proof["num_frames"]
            self.progress.append(Progress(now, clips, pixels))
            members = below(self._pid)
            self._core_s |= {member.pid: member.core_s for member in members}
            self.memory.append((now, sum(member.memory_mb for member in members)))

    def _poll_gpu(self) -> None:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
        while shutil.which(command[0]) and not self._ended.wait(1):
            told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            if told.isdigit():
                self.gpu_memory.append((time.perf_counter() - self._started, float(told)))


def read_lines(path: Path) -> list[bytes]:
    """The complete lines of a file; none if there is no such file."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return []


@dataclass(frozen=True)
class Progress:
    """What a run had done at a moment."""

    at_s: float
    clips: int
    pixels: int  # of the frames of these clips: a measure of the work, as clips differ in size


def rate(progress: Sequence[Progress], begin: float, end: float) -> float | None:
    """Clips of mean size a second while the work from the share ``begin`` of all to ``end`` was done.

    None: in too short a time to tell.
    """
    times = np.array([one.at_s for one in progress])
    shares = np.array([one.pixels for one in progress]) / max(1, progress[-1].pixels)
    first, last = (int(np.searchsorted(shares, share)) for share in (begin, end))
    if times[last] <= times[first]:
        return None
    return float(progress[-1].clips * (shares[last] - shares[first]) / (times[last] - times[first]))


def growth(memory: Sequence[tuple[float, float]], progress: Sequence[Progress]) -> dict[str, float] | None:
    """Most memory in MB in the first and in the last quarter of the time in which clips were made."""
    begin = next((one.at_s for one in progress if one.clips), None)
    if begin is None:
        return None
    end = next(one.at_s for one in progress if one.clips == progress[-1].clips)
    quarter = (end - begin) / 4
    first = [mb for at, mb in memory if begin <= at <= begin + quarter]
    last = [mb for at, mb in memory if end - quarter <= at <= end]
    if not first or not last:
        return None
    return {"first_mb": max(first), "last_mb": max(last), "most_mb": max(mb for _, mb in memory)}


def run_asl(raw: Path, data: Path, rows: Sequence[dict[str, Any]], trim: str) -> dict[str, Any]:
    """Seconds of the whole ``python preprocess.py`` and of its cutting alone, and what it used."""
    command = prepare(raw, data, rows, trim)
    paths = Paths.below(data)
    log = data / "log.txt"
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=data)
        with Watch(process.pid, paths.proof_log) as watch:
            code = process.wait()
            seconds = time.perf_counter() - started
    if code:
        raise RuntimeError(f"trim={trim} ended with {code}:\n{log.read_text()[-3000:]}")
    told = json.loads(paths.summary("bench").read_text())
    return {
        "command_s": seconds,
        "cutting_s": told["seconds"]["cutting"],
        "steady_clips_s": rate(watch.progress, 0.25, 0.75),
        "clips_s_by_eighth": [rate(watch.progress, i / 8, (i + 1) / 8) for i in range(8)],
        "core_s": watch.core_s,
        "steps": told["seconds"],
        "frames": told["frames"],
        "memory": growth(watch.memory, watch.progress),
        "gpu_memory": growth(watch.gpu_memory, watch.progress),
    }


def run_loop(ffmpeg: str, work: Path, rows: Sequence[dict[str, Any]], every: int) -> dict[str, Any]:
    """Seconds of the plain loop on every ``every``-th clip, times as much."""
    some = list(rows[::every])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = run_plain_loop(ffmpeg, work, some) * len(rows) / len(some)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    core_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "command_s": seconds,
        "cutting_s": seconds,
        "steady_clips_s": None,
        "core_s": core_s * len(rows) / len(some),
        "cut": len(some),
    }


@contextmanager
def pinned(count: int | None) -> Iterator[None]:
    """Processes that this thread starts within the block may use the first ``count`` cores alone."""
    if count is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


# ---------------------------------------------------------------- whether the results are the same


@dataclass(frozen=True)
class Compared:
    """A clip whose stored frames are compared."""

    row: dict[str, Any]
    source: Path
    first: Path  # folder of stored frames
    second: Path


def expected_numbers(clip: Compared) -> list[int]:
    """Which frames of the source are to be kept, by its time stamps."""
    timeline = read_packet_index(clip.source).timeline
    start_s, end_s = segment_span(clip.row["frame_start"], clip.row["frame_end"], 25)
    return frame_numbers(timeline.times, timeline.end, start_s, end_s, SPEC.fps).tolist()


def compare_one(clip: Compared) -> tuple[int, float, int]:
    """How many of the two stores have other frames than they should; mean and largest difference of pixels.

    The largest difference is of 255, over all pixels and channels.
    """
    kept = [
        np.asarray(open_frames(frames_path(folder, SPEC, clip.row["video_id"]))[0])
        for folder in (clip.first, clip.second)
    ]
    meant = expected_numbers(clip)
    wrong = sum(_numbers(frames) != meant for frames in kept)
    if kept[0].shape != kept[1].shape:
        return max(wrong, 1), 255.0, 255
    difference = np.abs(kept[0].astype(np.int16) - kept[1])
    return wrong, float(difference.mean()), int(difference.max())


def _numbers(frames: np.ndarray) -> list[int] | None:
    try:
        return [read_frame_number(frame) for frame in frames]
    except UnreadableFrameNumberError:
        return None


def compare(raw: Path, rows: Sequence[dict[str, Any]], first: Path, second: Path) -> dict[str, Any]:
    """Whether two runs gave the same manifest, audit and frames, and how far their pixels lie apart."""
    one, two = Paths.below(first), Paths.below(second)
    tasks = [
        Compared(row, raw / row["url"].rsplit("/", 1)[1], Path(one.frames_dir), Path(two.frames_dir))
        for row in rows
    ]
    wrong, means, largest, failures = 0, {}, 0, []
    for ended in run_each(compare_one, tasks):
        video_id = ended.task.row["video_id"]
        if isinstance(ended, Failed):
            failures.append(f"{video_id}: {ended.message}")
            continue
        wrong += ended.result[0]
        means[video_id] = ended.result[1]
        largest = max(largest, ended.result[2])
    return {
        "same_manifest": manifest(one.manifest("bench")) == manifest(two.manifest("bench")),
        "same_audit": one.audit("bench").read_bytes() == two.audit("bench").read_bytes(),
        "stores_with_wrong_frames": wrong,
        "not_comparable": failures,
        "mean_difference": float(np.mean(list(means.values()))) if means else None,
        "largest_mean_difference": max(means.values(), default=None),
        "of": max(means, key=means.__getitem__, default=None),
        "largest_difference": largest,
    }


def manifest(path: Path) -> list[list[str]]:
    """The cells of a manifest, without the flag ``bitstream``, which tells how a clip was proven."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    column = header.index("flags")
    for row in rows:
        row[column] = " ".join(flag for flag in row[column].split() if flag != "bitstream")
    return [header, *rows]


# ---------------------------------------------------------------- the program


def videos(work: Path, clips: int, distinct: int, grain: float) -> list[dict[str, Any]]:
    """The rows of the videos in ``work/raw``, which are made unless an earlier run has made the same.

    ``distinct`` clips are drawn; the others are the same files under other names.
    """
    kind = [clips, distinct, grain]
    try:
        *made, rows = json.loads((work / "rows.json").read_text())
    except (OSError, ValueError):
        made, rows = [], []
    if made != kind:
        (work / "rows.json").unlink(missing_ok=True)
        shutil.rmtree(work / "raw", ignore_errors=True)
        rows = repeated(work / "raw", make_set(work / "raw", min(clips, distinct), grain=grain), clips)
        (work / "rows.json").write_text(json.dumps([*kind, rows]))
        os.sync()
    return rows


def repeated(raw: Path, rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """``count`` rows, of these and of their files under other names."""
    found = list(rows)
    while len(found) < count:
        number, row = divmod(len(found), len(rows))
        name = rows[row]["url"].rsplit("/", 1)[1]
        copy = raw / f"again{number}_{name}"
        if not copy.exists():
            os.link(raw / name, copy)
        url = rows[row]["url"].replace(name, copy.name)
        found.append({**rows[row], "video_id": f"{rows[row]['video_id']}_{number}", "url": url})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument(
        "--distinct",
        type=int,
        default=500,
        metavar="N",
        help="clips that are drawn; others are the same files",
    )
    parser.add_argument("--part", type=int, default=1, metavar="N", help="every Nth clip only")
    parser.add_argument("--whole", action="store_true", help="leave the segments out, a tenth of the clips")
    parser.add_argument("--grain", type=float, default=GRAIN, help="of the videos: what makes their bit rate")
    parser.add_argument("--only", default=",".join(WAYS), help="the ways to measure, separated by commas")
    parser.add_argument("--no-dali", action="store_true", help="leave trim=dali out, as if not installed")
    parser.add_argument("--cores", type=int, metavar="N", help="measure on this machine's first N cores")
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"), help="for the plain loop")
    parser.add_argument(
        "--loop-every", type=int, default=20, metavar="N", help="every Nth clip only, its time taken N times"
    )
    parser.add_argument(
        "--work", type=Path, help="keep the files here, and take the videos from here next time"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/trim.json")
    args = parser.parse_args()
    ways = [way for way in args.only.split(",") if way]
    if set(ways) - set(WAYS):
        parser.error(f"--only={args.only}: there are {', '.join(WAYS)}")
    if min(args.loop_every, args.part, args.distinct) < 1 or (args.cores is not None and args.cores < 1):
        parser.error("--loop-every, --part, --distinct and --cores take numbers from 1")
    if "dali" in ways and (args.no_dali or not _installed("nvidia.dali")):
        ways.remove("dali")
    if "loop" in ways and not args.ffmpeg:
        parser.error("the plain loop needs an ffmpeg: install one, name it with --ffmpeg, or use --only")

    console = Console(width=None if sys.stdout.isatty() else 150)
    results: dict[str, Any] = {"machine": platform.processor(), "cores": args.cores or available_cores()}

    def save() -> None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))

    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        started = time.perf_counter()
        rows = videos(work, args.clips, args.distinct, args.grain)[:: args.part]
        console.print(f"videos: {time.perf_counter() - started:.0f} s")
        if args.whole:
            rows = [row for row in rows if row["frame_end"] == -1]
        results["clips"] = len(rows)
        for name in ("warm", "plain", *WAYS):
            shutil.rmtree(work / name, ignore_errors=True)
        if "cpu" in ways:  # what is read for the first time is slow
            run_asl(work / "raw", work / "warm", rows[:2], "cpu")
        for way in ways:
            with pinned(args.cores):
                if way == "loop":
                    results[way] = run_loop(args.ffmpeg, work, rows, args.loop_every)
                else:
                    results[way] = run_asl(work / "raw", work / way, rows, way)
            console.print(f"{way}: {results[way]['command_s']:.1f} s")
            save()
        results["compared"] = {
            way: compare(work / "raw", rows, work / "cpu", work / way)
            for way in ("dali", "nvdec")
            if {"cpu", way} <= set(ways)
        }
        save()
    _show(results, console)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def _show(results: dict[str, Any], console: Console) -> None:
    clips = results["clips"]
    table = Table(title=f"{clips} clips, {results['cores']} cores", title_justify="left")
    columns: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "command, s": lambda way: way["command_s"],
        "clips/s": lambda way: clips / way["command_s"],
        "cutting, s": lambda way: way["cutting_s"],
        "cutting, clips/s": lambda way: clips / way["cutting_s"],
        "steady, clips/s": lambda way: way["steady_clips_s"],
        "core ms a clip": lambda way: 1000 * way["core_s"] / clips,
    }
    for name in ("loop", "cpu"):
        if name in results:
            columns[f"times the {name}"] = partial(_times, results[name])
    for title in ("", *columns):
        table.add_column(title, justify="right" if title else "left", no_wrap=not title)
    for name in WAYS:
        if name in results:
            values = [tell(results[name]) for tell in columns.values()]
            title = f"plain loop ({results[name]['cut']} clips)" if name == "loop" else f"trim={name}"
            table.add_row(title, *("" if value is None else f"{value:.1f}" for value in values))
    console.print(table)
    for name in WAYS:
        if name in results and name != "loop":
            way = results[name]
            console.print(f"trim={name}: seconds by step {way['steps']}; frames {way['frames']}")
            for kind in ("memory", "gpu_memory"):
                if way[kind]:
                    console.print(f"  {kind.replace('_', ' ')}: {_growth_text(**way[kind])}")
    for name, compared in results["compared"].items():
        console.print(f"cpu against {name}: {compared}")


def _times(other: dict[str, Any], way: dict[str, Any]) -> float:
    """How many times faster a whole command is than another's."""
    ratio: float = other["command_s"] / way["command_s"]
    return ratio


def _growth_text(first_mb: float, last_mb: float, most_mb: float) -> str:
    verdict = "flat" if last_mb <= FLAT * first_mb else "grows"
    quarters = f"{first_mb:.0f} MB in the first quarter, {last_mb:.0f} MB in the last"
    return f"{verdict}: {quarters}, at most {most_mb:.0f} MB"


if __name__ == "__main__":
    main()
