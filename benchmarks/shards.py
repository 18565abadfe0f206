"""How long it takes to plan, share out and merge up to a million clips, and how that grows.

    python -m benchmarks.shards --instances 10000 100000 1000000

Instances are made up: ten segments a source of 30 to 90 s, 2,000 glosses. There are sources of a byte and no
clips: what is timed is what the programs compute and read themselves. Looking at the files of clips is timed
apart, on files of a byte for each clip of the smallest size. Each size runs in a process of its own, whose
largest memory is given, and what it has before the first step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from asl.contract.frame_store import FrameSpec
from asl.contract.manifest import write_manifest
from asl.contract.paths import Paths
from asl.datasets.instance import Instance, Metadata
from asl.preprocess.audit.audit import audit
from asl.preprocess.audit.missing_clips import find_missing_clips
from asl.preprocess.audit.pairs import shared_segments
from asl.preprocess.audit.statistics import compute_statistics
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.manifest_rows import manifest_rows, stale_files
from asl.preprocess.clips.plan import Cut, plan_cuts
from asl.preprocess.clips.proof import Proof
from asl.preprocess.clips.proof_log import ProofLog, join_logs, request_of
from asl.preprocess.gpu.choice import encoder_for
from asl.preprocess.shards.files import ShardFiles, proof_logs
from asl.preprocess.shards.shares import cuts_of_shards
from asl.preprocess.sources.matching import Match
from asl.preprocess.sources.raw_files import RawVideo

ROOT = Path(__file__).resolve().parent.parent
SEGMENTS, GLOSSES, SHARDS = 10, 2000, 16
SPLITS = ("train", "train", "train", "train", "val", "test")
RAW = RawVideo(90.0, 1280, 720, 30.0, "h264", "yuv420p")

Result = TypeVar("Result")


class Steps:
    """Seconds of a core that each step takes, whatever else the machine does."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, step: Callable[[], Result]) -> Result:
        """Call a step; returns what it returns."""
        begin = time.process_time()
        result = step()
        self.seconds[name] = round(time.process_time() - begin, 2)
        return result


def make_instances(count: int) -> list[Instance]:
    """Rows whose sources have ``SEGMENTS`` segments each, one after the other."""
    rng = random.Random(0)
    instances = []
    for i in range(count):
        start_s = Fraction(i % SEGMENTS * 3)
        instances.append(
            Instance(
                video_id=f"{i:07d}",
                gloss=f"gloss {rng.randrange(GLOSSES)}",
                split=SPLITS[i // SEGMENTS % len(SPLITS)],
                url=f"https://a.example/{i // SEGMENTS:07d}.mp4",
                start_s=start_s,
                end_s=start_s + 2,
                signer_id=f"{i // 5000}",
            )
        )
    return instances


def write_logs(shares: list[list[Cut]], folder: Path) -> None:
    """The logs of shards that have cut everything."""
    line = ""
    for index, cuts in enumerate(shares):
        log = ShardFiles(folder, index).proof_log
        with log.open("w", encoding="utf-8") as file:
            for cut in cuts:
                proof: dict[str, Any] = {
                    **{"num_frames": 60, "fps": 30.0, "duration_s": 2.0, "width": 1280, "height": 720},
                    **{"start_s": float(cut.start_s), "end_s": float(cut.end_s or 2), "copied": False},
                    **{"size": 1, "digest": "0" * 40, "fingerprint": "A" * 2732, "bitstream": ""},
                }
                entry = {"asked": request_of(cut), "proof": proof, "mtime_ns": 1}
                line = json.dumps({"video_id": cut.video_id, **entry})
                file.write(line + "\n")
    print(f"    a line of a log: {len(line)} bytes", file=sys.stderr)


def run(count: int, work: Path, *, with_files: bool) -> dict[str, Any]:
    """Time all steps at one size."""
    paths, raw_dir, steps = Paths.below(work / "data"), work / "data" / "raw", Steps()
    raw_dir.mkdir(parents=True)
    instances = make_instances(count)
    folders = {f"gloss {i}": f"gloss {i}" for i in range(GLOSSES)}
    names = {one.video_id: f"{int(one.video_id) // SEGMENTS:07d}.mp4" for one in instances}
    for name in sorted(set(names.values())):
        (raw_dir / name).touch()
    matches = {video_id: Match(name, "url_name") for video_id, name in names.items()}
    raw_videos = dict.fromkeys(names.values(), RAW)
    metadata = Metadata(tuple(instances), tuple(folders), ())
    before_mb = memory_mb()

    cuts = steps.time(
        "plan_cuts",
        lambda: plan_cuts(
            *(instances, matches, raw_videos),
            raw_dir=raw_dir,
            folders=folders,
            paths=paths,
            encoder=encoder_for("cpu", TrimSettings()),
            audio=False,
            frames=FrameSpec(),
            fps=25,
            end_tolerance_s=None,
        ),
    )
    folder = paths.shards("made", SHARDS)

    def share() -> list[list[Cut]]:
        return cuts_of_shards(cuts, folder, SHARDS, raw_dir=raw_dir)

    shares = steps.time("share out", share)
    steps.time("read shares", share)
    planned_mb = memory_mb()
    write_logs(shares, folder)
    logs = proof_logs(Path(paths.metadata_dir))
    steps.time(
        "one shard reads all logs",
        lambda: ProofLog(work / "own.jsonl", others=logs, only={cut.video_id for cut in shares[0]}),
    )
    steps.time("join logs", lambda: join_logs(paths.proof_log, logs))
    log = steps.time("read log", lambda: ProofLog(paths.proof_log))
    if with_files:
        for cut in cuts:
            cut.target.parent.mkdir(parents=True, exist_ok=True)
            cut.target.write_bytes(b"x")
            os.utime(cut.target, ns=(1, 1))
        found = steps.time("find clips", lambda: log.find_all(cuts))
        assert len(found) == count
    proofs: dict[str, Proof] = {video_id: clip.proof for video_id, clip in log._clips.items()}
    label_of = {gloss: label for label, gloss in enumerate(folders)}
    clips = steps.time(
        "manifest_rows",
        lambda: manifest_rows(
            *(instances, matches, proofs, label_of, paths),
            dataset="made",
            folders=folders,
            raw_videos=raw_videos,
        ),
    )
    steps.time("write manifest", lambda: write_manifest(paths.manifest("made"), clips))
    pairs = steps.time("pairs of segments", lambda: list(shared_segments(instances)))
    steps.time("audit", lambda: audit(instances, clips, pairs, min_per_class=5))
    missing = steps.time("missing clips", lambda: find_missing_clips(metadata, matches, {}, {}))
    steps.time(
        "statistics",
        lambda: compute_statistics(
            metadata=metadata,
            matches=matches,
            clips=clips,
            missing=missing,
            proofs=proofs,
            raw_videos=raw_videos,
        ),
    )
    files = [clip.path.removeprefix("videos/") for clip in clips]
    stale = steps.time(
        "stale files", lambda: stale_files(paths, files, (cut.target for cut in cuts), dataset="made")
    )
    assert stale == []
    return {
        "instances": count,
        "seconds": steps.seconds,
        "mb": {"before": before_mb, "planned": planned_mb, "all": memory_mb()},
    }


def memory_mb() -> int:
    """The largest memory of this process until now, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--files", type=int, default=100_000, help="sizes up to this have files of clips")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps(run(args.one, Path(work), with_files=args.one <= args.files)))
        return
    rows = []
    for count in args.instances:
        command = [sys.executable, "-m", "benchmarks.shards", "--one", str(count), "--files", str(args.files)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout))
    table = Table("seconds")
    for row in rows:
        table.add_column(f"{row['instances']:,}", justify="right")
    for name in rows[0]["seconds"]:
        table.add_row(name, *(str(row["seconds"].get(name, "")) for row in rows))
    table.add_section()
    for name in rows[0]["mb"]:
        table.add_row(f"MB, {name}", *(f"{row['mb'][name]:,}" for row in rows))
    Console().print(table)
    out = ROOT / "benchmarks" / "out" / "shards.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
