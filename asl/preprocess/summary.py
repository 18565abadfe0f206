"""What a run gave, as plain data for ``preprocess_summary.json`` and as tables for the terminal."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asl import __version__
from asl.config import PreprocessConfig
from asl.files import write_beside
from asl.manifest import SPLITS, Clip
from asl.preprocess.matching import Match, Unmatched
from asl.preprocess.metadata import Metadata
from asl.preprocess.trim import Proof

Summary = dict[str, Any]


def summarise(
    config: PreprocessConfig,
    *,
    metadata: Metadata,
    num_files: int,
    matches: Mapping[str, Match | Unmatched],
    clips: Sequence[Clip],
    proofs: Mapping[str, Proof],
    reused: int,
    problems: Iterable[tuple[str, str]],
    stale: Sequence[str],
    seconds: float,
) -> Summary:
    """Count everything that a person asks after a run. ``problems`` are (stage, reason) pairs."""
    matched = {video_id: found for video_id, found in matches.items() if isinstance(found, Match)}
    instances = Counter(instance.split for instance in metadata.instances)
    with_source = Counter(instance.split for instance in metadata.instances if instance.video_id in matched)
    cut = Counter(clip.split for clip in clips)
    by_gloss = Counter(dict.fromkeys(metadata.glosses, 0))
    by_gloss.update(clip.gloss for clip in clips)
    ranked = sorted(by_gloss.items(), key=lambda item: (-item[1], item[0]))
    reasons = Counter(problems)
    return {
        "asl": __version__,
        "settings": dataclasses.asdict(config),
        "instances": len(metadata.instances),
        "glosses": len(metadata.glosses),
        "refused_rows": len(metadata.refused),
        "raw_files": num_files,
        "clips": len(clips),
        "splits": {
            split: {"instances": instances[split], "matched": with_source[split], "clips": cut[split]}
            for split in SPLITS
        },
        "matched_by": dict(sorted(Counter(found.rule for found in matched.values()).items())),
        "reused": reused,
        "copied": sum(proof.copied for proof in proofs.values()),
        "encoded": sum(not proof.copied for proof in proofs.values()),
        "missing": [
            {"stage": stage, "reason": reason, "count": count}
            for (stage, reason), count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ],
        "most_frequent": [list(item) for item in ranked[:10]],
        "least_frequent": [list(item) for item in ranked[::-1][:10]],
        "clips_per_class": _spread([count for _, count in ranked]),
        "duration_s": _durations([clip.duration_s for clip in clips]),
        "stale": list(stale),
        "seconds": round(seconds, 2),
    }


def _spread(counts: Sequence[int]) -> dict[str, float] | None:
    if not counts:
        return None
    return {"min": min(counts), "median": statistics.median(counts), "max": max(counts)}


def _durations(durations: Sequence[float]) -> dict[str, float] | None:
    if not durations:
        return None
    p5, median, p95 = np.percentile(durations, [5, 50, 95]).round(3).tolist()
    return {"mean": round(statistics.fmean(durations), 3), "median": median, "p5": p5, "p95": p95}


def write(path: Path, told: Summary) -> None:
    """Write ``preprocess_summary.json``."""
    write_beside(path, json.dumps(told, indent=1, ensure_ascii=False))


def show(told: Summary, console: Console) -> None:
    """Print the tables."""
    splits = Table("split", title="Instances, sources and clips", title_justify="left")
    for name in ("instances", "matched", "clips"):
        splits.add_column(name, justify="right")
    for split, row in told["splits"].items():
        splits.add_row(split, *(str(row[name]) for name in ("instances", "matched", "clips")))
    totals = [sum(row[name] for row in told["splits"].values()) for name in ("instances", "matched", "clips")]
    splits.add_section()
    splits.add_row("all", *map(str, totals))
    console.print(splits)

    if told["missing"]:
        missing = Table("stage", "reason", title="Why instances have no clip", title_justify="left")
        missing.add_column("count", justify="right")
        for row in told["missing"]:
            missing.add_row(row["stage"], row["reason"], str(row["count"]))
        console.print(missing)

    glosses = Table(title="Clips a gloss", title_justify="left")
    for name in ("most frequent", "clips", "least frequent", "clips"):
        glosses.add_column(name, justify="right" if name == "clips" else "left")
    for most, least in zip(told["most_frequent"], told["least_frequent"], strict=True):
        glosses.add_row(escape(most[0]), str(most[1]), escape(least[0]), str(least[1]))
    console.print(glosses)

    if told["clips_per_class"]:
        spread = told["clips_per_class"]
        console.print(f"clips a class: min {spread['min']}, median {spread['median']:g}, max {spread['max']}")
    if told["duration_s"]:
        spans = told["duration_s"]
        console.print(
            f"clip length: mean {spans['mean']:.2f} s, median {spans['median']:.2f} s, "
            f"5 % under {spans['p5']:.2f} s, 5 % over {spans['p95']:.2f} s"
        )
    console.print(
        f"{told['clips']} clips in {told['seconds']:.1f} s: {told['copied']} copied, "
        f"{told['encoded']} encoded, of these {told['reused']} there already and right"
    )
    if told["stale"]:
        listed = ", ".join(told["stale"][:3]) + (", …" if len(told["stale"]) > 3 else "")
        console.print(
            f"[yellow]{len(told['stale'])} files in the clips' folder that no clip of this run owns: {listed}"
        )
