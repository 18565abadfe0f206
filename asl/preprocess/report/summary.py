"""What a run gave, as plain data for ``preprocess_summary.json`` and as tables for the terminal."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asl import __version__
from asl.contract.manifest import SPLITS
from asl.messages import first_few
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match
from asl.preprocess.sources.names import RULES

Summary = dict[str, Any]


def summarise(findings: RunResult) -> Summary:
    """Count everything that a person asks after a run."""
    metadata, clips = findings.metadata, findings.clips
    matched = {video_id: found for video_id, found in findings.matches.items() if isinstance(found, Match)}
    instances = Counter(instance.split for instance in metadata.instances)
    with_source = Counter(instance.split for instance in metadata.instances if instance.video_id in matched)
    cut = Counter(clip.split for clip in clips)
    by_gloss = Counter(dict.fromkeys(metadata.glosses, 0))
    by_gloss.update(clip.gloss for clip in clips)
    ranked = sorted(by_gloss.items(), key=lambda item: (-item[1], item[0]))
    reasons = Counter((problem.stage, problem.reason) for problem in findings.problems)
    proofs = findings.outcome.proofs.values()
    return {
        "asl": __version__,
        "started": findings.started,
        "seconds": findings.seconds,
        "settings": dataclasses.asdict(findings.config),
        "trim": dataclasses.asdict(findings.choice),
        "capabilities": findings.capabilities and findings.capabilities.as_dict(),
        "instances": len(metadata.instances),
        "glosses": len(metadata.glosses),
        "refused_rows": len(metadata.refused),
        "raw_files": len(findings.raw_files),
        "clips": len(clips),
        "splits": {
            split: {"instances": instances[split], "matched": with_source[split], "clips": cut[split]}
            for split in SPLITS
        },
        "matched_by": {
            rule: sum(found.rule == rule for found in matched.values())
            for rule in RULES
            if any(found.rule == rule for found in matched.values())
        },
        "suspects": {
            video_id: f"{found.source} {found.objection}"
            for video_id, found in sorted(matched.items())
            if found.objection
        },
        "url_name_rule": dataclasses.asdict(findings.url_name_errors),
        "audit": {
            **findings.audit.counts(),
            "signers": findings.audit.signers,
            "small_classes": len(findings.audit.small_classes),
            "missing_glosses": {k: len(v) for k, v in findings.audit.missing_glosses.items()},
            "dropped": len(findings.audit.dropped),
        },
        "reused": findings.outcome.reused,
        "copied": sum(proof.copied for proof in proofs),
        "encoded": sum(not proof.copied for proof in proofs),
        "frames": dataclasses.asdict(findings.outcome.frames),
        "missing": [
            {"stage": stage, "reason": reason, "count": count}
            for (stage, reason), count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ],
        "most_frequent": [list(item) for item in ranked[:10]],
        "least_frequent": [list(item) for item in ranked[::-1][:10]],
        "clips_per_class": _spread([count for _, count in ranked]),
        "duration_s": _durations([clip.duration_s for clip in clips]),
        "stale": list(findings.stale),
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

    _show_matching(told, console)

    glosses = Table(title="Clips a gloss", title_justify="left")
    for name in ("most frequent", "clips", "least frequent", "clips"):
        glosses.add_column(name, justify="right" if name == "clips" else "left")
    for most, least in zip(told["most_frequent"], told["least_frequent"], strict=True):
        glosses.add_row(escape(most[0]), str(most[1]), escape(least[0]), str(least[1]))
    console.print(glosses)

    _show_audit(told, console)
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
        f"{told['clips']} clips in {sum(told['seconds'].values()):.1f} s: {told['copied']} copied, "
        f"{told['encoded']} encoded, of these {told['reused']} there already and right"
    )
    _show_frames(told["frames"], console)
    if told["stale"]:
        listed = first_few(told["stale"], 3)
        console.print(
            f"[yellow]{len(told['stale'])} files in the clips' folder that no clip of this run owns: {listed}"
        )


def _show_frames(frames: dict[str, Any], console: Console) -> None:
    made = {"on the GPU": frames["gpu"], "on the host": frames["host"], "there already": frames["there"]}
    if any(made.values()):
        told = ", ".join(f"{count} {where}" for where, count in made.items() if count)
        console.print(f"frames for training: {told}")
    for why, count in frames["refused_by_gpu"].items():
        console.print(f"  {count} not on the GPU: {escape(why)}", soft_wrap=True)
    if frames["failed"]:
        video_id, why = next(iter(frames["failed"].items()))
        console.print(
            f"[yellow]{len(frames['failed'])} clips have no frames; training makes them from the clips. "
            f"{escape(video_id)}: {escape(why)}",
            soft_wrap=True,
        )


def _show_matching(told: Summary, console: Console) -> None:
    rules = Table("source known by", title="Matching", title_justify="left")
    rules.add_column("instances", justify="right")
    for rule, count in told["matched_by"].items():
        rules.add_row(rule, str(count))
    console.print(rules)
    if told["suspects"]:
        console.print(
            f"[yellow]{len(told['suspects'])} of these are suspect: length or picture size do not fit"
        )
    usual = told["url_name_rule"]
    console.print(
        f"The usual rule (last part of the URL = file name) would have matched {usual['rows']} instances, "
        f"{usual['wrong_at_least']} or more of them to another video "
        f"({usual['wrong_by_evidence']} proven by evidence), "
        f"{usual['across_splits']} with one file in several splits."
    )


def _show_audit(told: Summary, console: Console) -> None:
    audit = told["audit"]
    pairs = Table("pairs of instances with the", title="Audit", title_justify="left")
    for name in ("pairs", "in two splits", "under two glosses"):
        pairs.add_column(name, justify="right")
    for kind in ("same segment", "overlapping segments", "same content"):
        row = audit[kind]
        pairs.add_row(kind, str(row["pairs"]), str(row["across_splits"]), str(row["two_glosses"]))
    console.print(pairs)
    signers = audit["signers"]["clips"]
    console.print(
        f"signers: {signers['signer_in_train']} of {signers['test']} test clips have a signer who is also in "
        f"train, {signers['signer_and_gloss_in_train']} one who signs this very gloss there"
    )
    least = told["settings"]["audit"]["min_per_class"]
    without = ", ".join(f"{count} in {split}" for split, count in audit["missing_glosses"].items())
    small = audit["small_classes"]
    console.print(f"glosses with fewer than {least} training clips: {small}; without any clip: {without}")
    if audit["dropped"]:
        console.print(f"{audit['dropped']} training clips were taken out because val or test has them too")
