"""``preprocess.py`` against the plain loop: one ffmpeg libx264 process a clip, one after another.

    python -m benchmarks.preprocess [--clips 120] [--ffmpeg /path/to/ffmpeg] [--work DIR]

Both cut the same clips in one run, on videos that this script makes: segments of 2 s out of long
640x480 sources, and whole H.264 clips of 480p, 720p and 1080p. Whole commands are timed, start-up
included. Beside them stand the loop's time for what asl proves (every clip decoded once), and the
quality of the re-encoded clips against their source.
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
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from asl.codecs.decoder import decode_file
from asl.contract.paths import Paths
from asl.machine import available_cores
from asl.workers import Failed, run_each
from benchmarks.made_videos import row

ROOT = Path(__file__).resolve().parent.parent
SEGMENT_S = 2
SOURCE_S = 20
WHOLE_SIZES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
GRAIN = 3  # standard deviation in grey levels: 1.2 to 10 Mbit/s at 480p to 1080p
WHOLE_FRAMES = (45, 60, 75, 90)  # at 30 fps


def make_video(path: Path, *, width: int, height: int, frames: int, seed: int) -> None:
    """A moving figure before a still, grainy background: about as hard to encode as a sign clip."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, GRAIN, (8, height, width))
    y, x = np.mgrid[0:height, 0:width] / height
    background = 90 + 60 * np.sin(3 * x + seed) * np.cos(2 * y)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "21"}
        for i in range(frames):
            t = i / 30
            picture = background + grain[rng.integers(8)]
            for k in range(3):
                cx = 0.6 + 0.3 * np.sin(2.1 * t + 2 * k + seed)
                cy = 0.5 + 0.3 * np.cos(1.7 * t + k)
                picture += 90 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.01)
            gray = picture.clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def segments(raw: Path, clips: int) -> list[dict[str, Any]]:
    """``clips`` rows, each a segment of one of a few long sources."""
    rows, per_source = [], SOURCE_S // SEGMENT_S - 1
    for k in range(-(-clips // per_source)):
        name = f"long{k}.mp4"
        make_video(raw / name, width=640, height=480, frames=30 * SOURCE_S, seed=k)
        for i in range(per_source):
            start = 1 + i * SEGMENT_S * 25 + 7
            rows.append(row(f"s{k}_{i}", f"http://bench.example/{name}", start, start + SEGMENT_S * 25 - 1))
    return rows[:clips]


def whole_clips(raw: Path, clips: int) -> list[dict[str, Any]]:
    """``clips`` rows, each a file of its own; a dozen different ones, copied."""
    made = []
    for label, (width, height) in WHOLE_SIZES.items():
        for frames in WHOLE_FRAMES:
            path = raw / f"w_{label}_{frames}.mp4"
            make_video(path, width=width, height=height, frames=frames, seed=frames)
            made.append(path)
    rows = []
    for i in range(clips):
        name = f"whole{i}.mp4"
        shutil.copyfile(made[i % len(made)], raw / name)
        rows.append(row(f"w{i}", f"http://bench.example/{name}"))
    for path in made:
        path.unlink()
    return rows


def run_asl(data: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of the whole ``python preprocess.py``, and of its cutting and proving alone."""
    metadata = data / "metadata" / "bench.json"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(json.dumps(rows))
    command = [sys.executable, str(ROOT / "preprocess.py"), f"paths.data_dir={data}", "dataset.name=bench"]
    command += [f"dataset.metadata={metadata}", "dataset.num_glosses=null", "strict=true"]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=data)
    seconds = time.perf_counter() - started
    told = json.loads(Paths.below(data).summary("bench").read_text())
    return {"asl_s": seconds, "cutting_s": told["seconds"]["cutting"]}


def run_plain_loop(ffmpeg: str, data: Path, rows: list[dict[str, Any]]) -> float:
    """Seconds of the usual notebook: ffmpeg with libx264's defaults for each clip in turn."""
    target = data / "plain"
    target.mkdir()
    started = time.perf_counter()
    for one in rows:
        source = data / "raw" / one["url"].rsplit("/", 1)[1]
        command = [ffmpeg, "-v", "error", "-y"]
        if one["frame_end"] != -1:
            seconds = (one["frame_end"] - one["frame_start"] + 1) / 25
            command += ["-ss", str((one["frame_start"] - 1) / 25), "-t", str(seconds)]
        command += ["-i", str(source), "-c:v", "libx264", "-pix_fmt", "yuv420p", "-an"]
        subprocess.run([*command, str(target / f"{one['video_id']}.mp4")], check=True)
    return time.perf_counter() - started


def run_decode(data: Path, rows: list[dict[str, Any]]) -> float:
    """Seconds to decode every source once, in as many processes as asl uses."""
    paths = [data / "raw" / one["url"].rsplit("/", 1)[1] for one in rows]
    started = time.perf_counter()
    for ended in run_each(decode_file, paths):
        if isinstance(ended, Failed):
            raise RuntimeError(ended.message)
    return time.perf_counter() - started


def psnr(data: Path, rows: list[dict[str, Any]], folder: str) -> float:
    """Mean PSNR in dB of the first few cut segments' luma against the source's frames."""
    values = []
    for one in rows[:6]:
        source = data / "raw" / one["url"].rsplit("/", 1)[1]
        start_s, end_s = Fraction(one["frame_start"] - 1, 25), Fraction(one["frame_end"], 25)
        with av.open(str(source)) as container:
            meant = [
                frame.to_ndarray(format="gray").astype(float)
                for frame in container.decode(video=0)
                if start_s <= frame.pts * frame.time_base < end_s
            ]
        with av.open(str(data / folder / f"{one['video_id']}.mp4")) as container:
            got = [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]
        errors = [np.mean((a - b) ** 2) for a, b in zip(meant, got, strict=False)]
        values.append(np.mean(10 * np.log10(255**2 / np.array(errors))))
    return float(np.mean(values))


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*.mp4")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=120, help="of each kind")
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"), help="for the plain loop")
    parser.add_argument("--work", type=Path, help="keep the files here instead of a temporary folder")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/preprocess.json")
    args = parser.parse_args()
    if not args.ffmpeg:
        sys.exit("error: the plain loop needs an ffmpeg: install one, or name it with --ffmpeg")

    console = Console()
    results: dict[str, Any] = {
        "clips": args.clips,
        "cores": available_cores(),
        "machine": platform.processor(),
    }
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        for kind, make in (("segments", segments), ("whole", whole_clips)):
            data = work / kind
            (data / "raw").mkdir(parents=True)
            console.print(f"making {args.clips} {kind} ...")
            rows = make(data / "raw", args.clips)
            os.sync()
            result = {"plain_s": run_plain_loop(args.ffmpeg, data, rows), **run_asl(data, rows)}
            if kind == "whole":
                result["decode_s"] = run_decode(data, rows)
            else:
                videos = "videos/train/benchmark"
                result |= {"asl_psnr": psnr(data, rows, videos), "plain_psnr": psnr(data, rows, "plain")}
            result |= {"asl_mb": megabytes(data / "videos"), "plain_mb": megabytes(data / "plain")}
            results[kind] = result

    table = Table(title=f"{args.clips} clips each, {results['cores']} cores", title_justify="left")
    for name in ("", "2 s segments, 480p", "whole, 480p-1080p"):
        table.add_column(name, justify="right" if name else "left")
    for name, tell in {
        "plain loop": lambda r: f"{r['plain_s']:.1f} s",
        "asl, the whole command": lambda r: f"{r['asl_s']:.1f} s",
        "  times faster": lambda r: f"{r['plain_s'] / r['asl_s']:.1f}",
        "asl, cutting and proving": lambda r: f"{r['cutting_s']:.1f} s",
        "decoding every clip once": lambda r: f"{r['decode_s']:.1f} s" if "decode_s" in r else "",
        "  cutting / decoding": lambda r: f"{r['cutting_s'] / r['decode_s']:.2f}" if "decode_s" in r else "",
        "  command / decoding": lambda r: f"{r['asl_s'] / r['decode_s']:.2f}" if "decode_s" in r else "",
        "size, plain loop": lambda r: f"{r['plain_mb']:.0f} MB",
        "size, asl": lambda r: f"{r['asl_mb']:.0f} MB",
    }.items():
        table.add_row(name, tell(results["segments"]), tell(results["whole"]))
    console.print(table)
    s = results["segments"]
    console.print(f"luma PSNR against the source: plain {s['plain_psnr']:.1f} dB, asl {s['asl_psnr']:.1f} dB")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
