"""``trim=cpu`` and ``trim=dali`` against the plain loop: one ffmpeg libx264 process a clip.

    python -m benchmarks.trim [--clips 500] [--ffmpeg /path/to/ffmpeg] [--work DIR]

All cut the same clips in one run: whole files and segments of 320x240, 640x480 and 1280x720 at 25, 29.97
and 30 frames a second, made by this script with a number on every frame. The loop gives clips; asl gives
clips, a proof of each and its frames for training. Where there is a GPU and DALI, the results of both ways
are held against each other, and the GPU's decoding against DALI's decoder alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from asl.codecs.frame_collector import FramesRequest
from asl.codecs.timeline import read_packet_index
from asl.contract.frame_store import FrameSpec, frames_path, open_frames, origin
from asl.datasets.wlasl import segment_span
from asl.demo.frame_number import read_frame_number
from asl.machine import available_cores
from asl.preprocess.gpu.dali_decoder import GROUP, warm_up
from asl.preprocess.gpu.dali_frames import make_batch
from asl.preprocess.gpu.frame_jobs import FrameJob, frame_numbers
from asl.preprocess.gpu.frame_offload import BATCH, PROCESSES
from asl.workers import Failed, Workers, run_each
from benchmarks.made_videos import GRAIN, make_set
from benchmarks.preprocess import run_plain_loop

ROOT = Path(__file__).resolve().parent.parent
SPEC = FrameSpec()
THREADS = 16  # of DALI's decoder alone


def run_asl(raw: Path, data: Path, rows: list[dict[str, Any]], trim: str) -> dict[str, Any]:
    """Seconds of the whole ``python preprocess.py`` and of its cutting alone, and who made the frames."""
    (data / "metadata").mkdir(parents=True)
    (data / "raw").symlink_to(raw)
    metadata = data / "metadata" / "bench.json"
    metadata.write_text(json.dumps(rows))
    command = [sys.executable, str(ROOT / "preprocess.py"), f"trim={trim}", f"paths.data_dir={data}"]
    command += ["dataset.name=bench", f"dataset.metadata={metadata}", "dataset.num_glosses=null"]
    started = time.perf_counter()
    subprocess.run([*command, "strict=true"], check=True, stdout=subprocess.DEVNULL, cwd=data)
    seconds = time.perf_counter() - started
    told = json.loads((data / "metadata" / "preprocess_summary.json").read_text())
    steps = told["seconds"]
    return {"command_s": seconds, "cutting_s": steps["cutting"], "steps": steps, "frames": told["frames"]}


def jobs_of(raw: Path, data: Path, rows: list[dict[str, Any]]) -> list[FrameJob]:
    """What the GPU is asked for, in its order: pictures of one size together."""
    jobs = []
    for one in rows:
        source = raw / one["url"].rsplit("/", 1)[1]
        start_s, end_s = segment_span(one["frame_start"], one["frame_end"], 25)
        made_from = origin(SPEC, source, float(start_s), None if end_s is None else float(end_s))
        keep = FramesRequest(frames_path(data / "frames", SPEC, one["video_id"]), SPEC, made_from)
        with av.open(str(source)) as container:
            width, height = container.streams.video[0].width, container.streams.video[0].height
        jobs.append(
            FrameJob(
                video_id=one["video_id"],
                source=source,
                start_s=start_s,
                end_s=end_s,
                keep=keep,
                width=width,
                height=height,
            )
        )
    return sorted(jobs, key=lambda job: (-job.width * job.height, job.source, job.start_s))


def expected_numbers(job: FrameJob) -> list[int]:
    """Which frames of the source are to be kept, by its time stamps."""
    timeline = read_packet_index(job.source).timeline
    return frame_numbers(timeline.times, timeline.end, job.start_s, job.end_s, SPEC.fps).tolist()


def run_gpu_frames(jobs: list[FrameJob]) -> dict[str, float]:
    """Seconds in which asl's GPU processes make the frames of all clips, from file to file, once warm."""
    batches = [tuple(jobs[i : i + BATCH]) for i in range(0, len(jobs), BATCH)]
    with Workers(PROCESSES) as pool:

        def go(batches: list[tuple[FrameJob, ...]]) -> float:
            started = time.perf_counter()
            for ended in pool.run_lazily(make_batch, iter(batches), ahead=PROCESSES):
                wrong = [ended.message] if isinstance(ended, Failed) else [why for why in ended.result if why]
                if wrong:
                    raise RuntimeError(wrong[0])
            return time.perf_counter() - started

        list(pool.run_each(warm_up, list(range(PROCESSES))))
        cold = go(batches)
        return {"cold_s": cold, "warm_s": go(batches)}


def run_dali_alone(jobs: list[FrameJob]) -> dict[str, float]:
    """Seconds of ``fn.decoders.video`` alone for the same frames at the same batch size, results unused."""
    from nvidia import dali
    from nvidia.dali import fn, types

    prepared = [(job.source, np.array(expected_numbers(job), np.int32)) for job in jobs]
    batches = [prepared[i : i + GROUP] for i in range(0, len(prepared), GROUP)]

    def go() -> float:
        def feed() -> Any:
            for batch in batches:
                yield [np.fromfile(path, np.uint8) for path, _ in batch], [numbers for _, numbers in batch]

        @dali.pipeline_def(batch_size=GROUP, num_threads=THREADS, device_id=0, prefetch_queue_depth=2)
        def decode() -> Any:
            encoded, numbers = fn.external_source(
                source=feed(), num_outputs=2, dtype=[types.UINT8, types.INT32], ndim=[1, 1]
            )
            return fn.decoders.video(encoded, device="mixed", frames=numbers)

        pipeline = decode()
        pipeline.build()
        started = time.perf_counter()
        for _ in batches:
            pipeline.run()
        return time.perf_counter() - started

    cold, before = go(), time.process_time()
    warm = go()
    return {"cold_s": cold, "warm_s": warm, "warm_core_s": time.process_time() - before}


def compare_one(task: tuple[FrameJob, Path, Path]) -> tuple[int, float]:
    """How many of the two stores have other frames than they should; mean difference of their pixels."""
    job, cpu, dali = task
    kept = [open_frames(frames_path(data / "frames", SPEC, job.video_id))[0] for data in (cpu, dali)]
    meant = expected_numbers(job)
    wrong = sum([read_frame_number(frame) for frame in frames] != meant for frames in kept)
    return wrong, float(np.abs(kept[0].astype(np.int16) - kept[1]).mean())


def compare(jobs: list[FrameJob], cpu: Path, dali: Path) -> dict[str, Any]:
    """Whether both ways chose the same frames, the right ones, and how far their pixels lie apart."""
    wrong, differences = 0, {}
    for ended in run_each(compare_one, [(job, cpu, dali) for job in jobs]):
        if isinstance(ended, Failed):
            raise RuntimeError(ended.message)
        wrong += ended.result[0]
        differences[ended.task[0].video_id] = ended.result[1]
    name = "metadata/bench_manifest.csv"
    return {
        "same_manifest": (cpu / name).read_bytes() == (dali / name).read_bytes(),
        "clips_with_wrong_frames": wrong,
        "mean_difference": float(np.mean(list(differences.values()))),
        "largest_mean_difference": max(differences.values()),
        "of": max(differences, key=lambda video_id: differences[video_id]),
    }


def made_before(work: Path, clips: int, grain: float) -> list[dict[str, Any]] | None:
    """The rows of an earlier run's videos in the same folder, if they are of the same kind."""
    try:
        *kind, rows = json.loads((work / "rows.json").read_text())
    except (OSError, ValueError):
        return None
    for name in ("warm", "cpu", "dali", "plain"):
        shutil.rmtree(work / name, ignore_errors=True)
    return rows if kind == [clips, grain] else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--grain", type=float, default=GRAIN, help="of the videos: what makes their bit rate")
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"), help="for the plain loop")
    parser.add_argument("--no-loop", action="store_true", help="leave the plain loop out")
    parser.add_argument(
        "--loop-every", type=int, default=1, metavar="N", help="every Nth clip only, its time taken N times"
    )
    parser.add_argument("--no-gpu", action="store_true", help="leave trim=dali out")
    parser.add_argument(
        "--work", type=Path, help="keep the files here, and take the videos from here next time"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/trim.json")
    args = parser.parse_args()
    if args.loop_every < 1:
        sys.exit("error: --loop-every takes numbers from 1")
    if not args.ffmpeg and not args.no_loop:
        sys.exit("error: the plain loop needs an ffmpeg: install one, or name it with --ffmpeg")

    console = Console()
    results: dict[str, Any] = {}

    def save() -> None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))

    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        rows = made_before(work, args.clips, args.grain)
        if rows is None:
            console.print(f"making {args.clips} clips ...")
            (work / "rows.json").unlink(missing_ok=True)
            rows = make_set(work / "raw", args.clips, grain=args.grain)
            (work / "rows.json").write_text(json.dumps([args.clips, args.grain, rows]))
            os.sync()
        results |= {"clips": args.clips, "cores": available_cores(), "machine": platform.processor()}
        run_asl(work / "raw", work / "warm", rows[:2], "cpu")  # what is read for the first time is slow
        results["cpu"] = run_asl(work / "raw", work / "cpu", rows, "cpu")
        if not args.no_gpu:
            results["dali"] = run_asl(work / "raw", work / "dali", rows, "dali")
            save()
            jobs = jobs_of(work / "raw", work / "alone", rows)
            results["compared"] = compare(jobs, work / "cpu", work / "dali")
            half = jobs[::2]
            results["decoded_clips"] = len(half)
            results["gpu_frames"] = run_gpu_frames(half)
            results["dali_alone"] = run_dali_alone(half)
            save()
        if not args.no_loop:
            some = rows[:: args.loop_every]
            results["loop_clips"] = len(some)
            results["loop_s"] = run_plain_loop(args.ffmpeg, work, some) * len(rows) / len(some)
    save()
    _show(results, console)


def _show(results: dict[str, Any], console: Console) -> None:
    clips, loop_s = results["clips"], results.get("loop_s")
    table = Table(title=f"{clips} clips, {results['cores']} cores", title_justify="left")
    for name in ("", "seconds", "clips/s", "times the loop"):
        table.add_column(name, justify="right" if name else "left")

    def row(name: str, seconds: float) -> None:
        times = f"{loop_s / seconds:.1f}" if loop_s else ""
        table.add_row(name, f"{seconds:.1f}", f"{clips / seconds:.1f}", times)

    if loop_s:
        row(f"plain ffmpeg loop (clips only; {results['loop_clips']} of them)", loop_s)
    for trim in ("cpu", "dali"):
        if trim in results:
            console.print(f"trim={trim}, seconds by step: {results[trim]['steps']}")
            row(f"trim={trim}: clips, proofs, frames", results[trim]["cutting_s"])
            row(f"trim={trim}: the whole command", results[trim]["command_s"])
    if "dali_alone" in results:
        names = {
            "dali_alone": "fn.decoders.video alone",
            "gpu_frames": "asl's frames on the GPU, file to file",
        }
        decoded = results["decoded_clips"]
        for name, title in names.items():
            for state in ("cold", "warm"):
                seconds = results[name][f"{state}_s"]
                title_of = f"{title}, {state}, {decoded} clips"
                table.add_row(title_of, f"{seconds:.1f}", f"{decoded / seconds:.1f}", "")
    console.print(table)
    if "dali_alone" in results:
        for state in ("cold_s", "warm_s"):
            share = results["dali_alone"][state] / results["gpu_frames"][state]
            console.print(f"asl's GPU frames reach {share:.0%} of the decoder alone ({state[:-2]})")
        cores = results["dali_alone"]["warm_core_s"] / results["dali_alone"]["warm_s"]
        console.print(f"the decoder alone keeps {cores:.1f} cores busy")
        console.print(f"frames by: {results['dali']['frames']}")
        console.print(f"cpu against dali: {results['compared']}")


if __name__ == "__main__":
    main()
