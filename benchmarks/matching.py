"""How long matching and the audit take at WLASL2000's size, and how that grows.

    python -m benchmarks.matching

Instances and files are made up in WLASL's proportions: a third on YouTube, several segments a source;
URL names of which one in ten is shared between sites; 21,083 instances and 12,000 files in the first
row, and twice and four times as many in the next. Opening the raw files is not included: it is done
once and remembered.

A second table is of 100,000 rows in a CSV file that name their files, as data sets other than WLASL do: read,
val and test made by signer, the files on the disk listed, and matched.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from asl.contract.manifest import Clip
from asl.datasets.csv_table import CsvTable
from asl.datasets.instance import Box, Instance
from asl.datasets.wlasl import segment_span
from asl.preprocess.audit.audit import audit
from asl.preprocess.audit.pairs import find_pairs
from asl.preprocess.clips import fingerprint
from asl.preprocess.sources.evidence import Evidence
from asl.preprocess.sources.matching import Match, match
from asl.preprocess.sources.names import claims
from asl.preprocess.sources.raw_files import RawVideo, scan_raw
from asl.preprocess.sources.url_name_rule import url_name_errors

ROOT = Path(__file__).resolve().parent.parent
INSTANCES, FILES = 21_083, 12_000
SPLITS = ("train", "train", "train", "train", "train", "val", "test")


def make_instances(count: int, rng: random.Random) -> list[Instance]:
    """Rows in WLASL's proportions."""
    instances = []
    for i in range(count):
        start, end = 1, -1
        if i % 3 == 0:  # on YouTube, seven segments a source
            url = f"https://www.youtube.com/watch?v={i // 21:011d}"
            start = 1 + 60 * (i // 3 % 7)
            end = start + 59
        else:
            word = i // 10 if i % 10 == 1 else i  # one name in ten is another site's too
            site = "abcdef"[i % 6] if i % 10 in (0, 1) else "g"
            url = f"http://{site}.example/videos/sign-{word - word % 10 if i % 10 == 0 else word}.mp4"
        start_s, end_s = segment_span(start, end, 25)
        instances.append(
            Instance(
                video_id=f"{i:06d}",
                gloss=f"gloss{i % 2000}",
                split=rng.choice(SPLITS),
                url=url,
                site="site",
                start_s=start_s,
                end_s=end_s,
                box=Box(10, 10, 300, 240),
                signer_id=str(i % 120),
            )
        )
    return instances


def make_files(instances: list[Instance], count: int, rng: random.Random) -> list[str]:
    """Some named by video_id, some by YouTube id, the rest by URL."""
    names = set()
    for instance in rng.sample(instances, len(instances)):
        by_url = instance.url.rsplit("/", 1)[1].removeprefix("watch?v=").removesuffix(".mp4")
        names.add(f"{instance.video_id if rng.random() < 0.3 else by_url}.mp4")
        if len(names) == count:
            break
    return sorted(names)


def run(instances_count: int, files_count: int) -> dict[str, float]:
    """Seconds of each step."""
    rng = random.Random(0)
    instances = make_instances(instances_count, rng)
    files = make_files(instances, files_count, rng)
    ends = {instance.video_id: float(rng.randint(27, 148)) for instance in instances}
    raw_videos = {file: RawVideo(rng.randint(27, 148) / 25, 640, 480) for file in files}

    started = time.perf_counter()
    claimed = claims(instances, files)
    evidence = Evidence(raw_videos, ends)
    matches = match(instances, claimed, evidence)
    url_name_errors(instances, files, claimed, evidence)
    matched = time.perf_counter()

    found = [one for one in instances if isinstance(matches[one.video_id], Match)]
    clips = [make_clip(one) for one in found]
    noise = np.random.default_rng(0)
    shape = (fingerprint.FRAMES, fingerprint.SIDE, fingerprint.SIDE)
    prints = {
        clip.video_id: (
            fingerprint.to_text(noise.integers(0, 255, shape).astype(np.uint8)),
            rng.randint(27, 148) / 25,
        )
        for clip in clips
    }
    audited = time.perf_counter()
    audit(instances, clips, find_pairs(instances, prints, lambda _: [])[0], min_per_class=5)
    return {
        "instances": len(instances),
        "files": len(files),
        "clips": len(clips),
        "match_s": matched - started,
        "audit_s": time.perf_counter() - audited,
    }


def run_csv(rows: int, folder: Path) -> dict[str, float]:
    """Seconds of each step from a CSV file to matches, and the peak memory of the process in MB."""
    raw = folder / "raw"
    lines = ["path,gloss,signer,start_s,end_s,box"]
    for i in range(rows):
        path = f"{i % 2000:04d}/signer{i % 120}_{i:06d}.mp4"
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).touch()
        lines.append(f"{path},gloss {i % 2000},signer {i % 120},0.04,2.5,0.1 0 0.9 1")
    (folder / "signs.csv").write_text("\n".join(lines))
    before_mb = peak_mb()
    started = time.perf_counter()
    dataset = CsvTable(name="signs", root=str(raw), metadata=str(folder / "signs.csv"))
    metadata = dataset.load_with_splits()
    read = time.perf_counter()
    files = scan_raw(raw)
    listed = time.perf_counter()
    matches = match(metadata.instances, claims(metadata.instances, files), Evidence())
    matched = time.perf_counter()
    return {
        "rows": rows,
        "matched": sum(isinstance(one, Match) for one in matches.values()),
        "read_s": read - started,
        "list_s": listed - read,
        "match_s": matched - listed,
        "more_mb": peak_mb() - before_mb,
    }


def peak_mb() -> float:
    """The peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_clip(instance: Instance) -> Clip:
    """A manifest row of a matched instance."""
    return Clip(
        split=instance.split,
        gloss=instance.gloss,
        label=0,
        video_id=instance.video_id,
        path=f"{instance.video_id}.mp4",
        num_frames=60,
        fps=25.0,
        duration_s=2.4,
        width=640,
        height=480,
        signer_id=instance.signer_id,
        source="x.mp4",
        start_s=0.0,
        end_s=2.4,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/matching.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        by_path = run_csv(100_000, Path(folder))
    results = [run(INSTANCES * k, FILES * k) for k in (1, 2, 4)]
    table = Table(
        title=f"Matching and audit, {platform.processor() or platform.machine()}", title_justify="left"
    )
    for name in ("instances", "files", "clips", "matching", "audit", "times the first row"):
        table.add_column(name, justify="right")
    for result in results:
        total = result["match_s"] + result["audit_s"]
        table.add_row(
            f"{result['instances']:,}",
            f"{result['files']:,}",
            f"{result['clips']:,}",
            f"{result['match_s']:.2f} s",
            f"{result['audit_s']:.2f} s",
            f"{total / (results[0]['match_s'] + results[0]['audit_s']):.1f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{by_path['matched']:,} of {by_path['rows']:,} rows matched by path: "
        f"read {by_path['read_s']:.2f} s, files listed {by_path['list_s']:.2f} s, "
        f"matched {by_path['match_s']:.2f} s, {by_path['more_mb']:.0f} MB more memory"
    )
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"names": results, "paths": by_path}, indent=1))


if __name__ == "__main__":
    main()
