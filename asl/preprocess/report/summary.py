"""The numbers and settings of a run as plain data: ``{dataset}_preprocess_summary.json``."""

from __future__ import annotations

import dataclasses
from typing import Any

from asl import __version__
from asl.contract.manifest import SPLITS
from asl.preprocess.audit.statistics import Durations
from asl.preprocess.run_result import RunResult

#: Glosses listed as the most and the least frequent ones.
LISTED_GLOSSES = 10


def summarize(result: RunResult) -> dict[str, Any]:
    """Plain data for ``{dataset}_preprocess_summary.json``."""
    numbers, audit = result.statistics, result.audit
    ranked = [[gloss, coverage.clips] for gloss, coverage in numbers.by_class.items()]
    return {
        "asl": __version__,
        "started": result.started,
        "seconds": dict(result.seconds),
        "settings": dataclasses.asdict(result.config),
        "trim": dataclasses.asdict(result.choice),
        "capabilities": result.capabilities and result.capabilities.as_dict(),
        "instances": numbers.overall.instances,
        "glosses": len(result.metadata.glosses),
        "refused_rows": len(result.metadata.refused),
        "raw_files": len(result.raw_files),
        "clips": numbers.overall.clips,
        "splits": {
            split: {"instances": row.instances, "matched": row.matched, "clips": row.clips}
            for split, row in numbers.by_split.items()
        },
        "made_splits": result.metadata.made_splits,
        "notes": list(result.metadata.notes),
        "matched_by": dict(numbers.matched_by),
        "suspects": dict(numbers.suspects),
        "bitstream": [dataclasses.asdict(finding) for finding in numbers.bitstream],
        "url_name_rule": dataclasses.asdict(result.url_name_errors),
        "audit": {
            **audit.counts(),
            "signers": audit.signers,
            "small_classes": len(audit.small_classes),
            "missing_glosses": {split: len(audit.missing_glosses[split]) for split in SPLITS},
            "dropped": len(audit.dropped),
            "rejected": len(audit.rejected),
        },
        "reused": result.cut_results.reused,
        "copied": numbers.copied,
        "encoded": numbers.encoded,
        "frames": dataclasses.asdict(result.cut_results.frames),
        "missing": [
            {"stage": stage, "reason": reason, "count": count}
            for (stage, reason), count in numbers.reasons.items()
        ],
        "most_frequent": ranked[:LISTED_GLOSSES],
        "least_frequent": ranked[::-1][:LISTED_GLOSSES],
        "clips_per_class": numbers.class_sizes and dataclasses.asdict(numbers.class_sizes),
        "duration_s": _duration_s(numbers.durations),
        "stale": list(result.stale),
    }


def _duration_s(durations: Durations | None) -> dict[str, float] | None:
    if durations is None:
        return None
    return {name: getattr(durations, name) for name in ("mean", "median", "p5", "p95")}
