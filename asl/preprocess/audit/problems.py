"""Why instances have no clip: ``preprocess_errors.csv``."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from asl.datasets.instance import Instance, Metadata
from asl.files import atomic_write_text
from asl.preprocess.clips.cutting import CutFailure
from asl.preprocess.sources.matching import Match, Unmatched

#: Where an instance was lost. Only the first and the third are failures: not every video of WLASL can
#: still be downloaded, and what the audit takes out it was asked to take out.
STAGES = ("metadata", "match", "cut", "audit")
FAILURES = ("metadata", "cut")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One row: an instance, and what a person needs to know to get its clip."""

    video_id: str
    error: str
    stage: str  # one of STAGES
    reason: str  # a short cause, the same for all clips that it concerns: reports count by it
    split: str = ""
    gloss: str = ""
    source: str = ""  # the raw file, or those that bear the instance's name
    start_s: float | None = None
    end_s: float | None = None
    url: str = ""
    rivals: str = ""  # video_ids that claim the same raw files


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write the CSV file whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Problem)])
    writer.writerows(dataclasses.astuple(problem) for problem in problems)
    atomic_write_text(path, text.getvalue())


def find_problems(
    metadata: Metadata,
    matches: Mapping[str, Match | Unmatched],
    failures: Mapping[str, CutFailure],
    dropped: Mapping[str, str],
) -> list[Problem]:
    """Every instance that has no row in the manifest, by stage and video_id.

    Args:
        metadata: its refused rows are problems too.
        matches: the sources.
        failures: of cutting, by video_id.
        dropped: what the audit took out, and why, by video_id.
    """
    problems = [
        Problem(video_id=row.video_id, error=row.error, stage="metadata", reason="row refused")
        for row in metadata.refused
    ]
    for instance in metadata.instances:
        problems += _of(instance, matches[instance.video_id], failures, dropped)
    return sorted(problems, key=_order)


def _order(problem: Problem) -> tuple[int, str]:
    """By stage and video_id; refused rows as they stand in the file."""
    return STAGES.index(problem.stage), "" if problem.stage == "metadata" else problem.video_id


def _of(
    instance: Instance,
    found: Match | Unmatched,
    failures: Mapping[str, CutFailure],
    dropped: Mapping[str, str],
) -> Iterator[Problem]:
    start = Problem(
        video_id=instance.video_id,
        error="",
        stage="match",
        reason="",
        split=instance.split,
        gloss=instance.gloss,
        url=instance.url,
    )
    if isinstance(found, Unmatched):
        yield dataclasses.replace(
            start,
            error=f"{found.reason}: {found.detail}",
            reason=found.reason,
            source=" ".join(found.candidates),
            rivals=" ".join(found.rivals),
        )
    elif instance.video_id in failures:
        failure = failures[instance.video_id]
        yield dataclasses.replace(
            start,
            error=failure.error,
            stage="cut",
            reason=failure.reason,
            source=found.source,
            start_s=failure.start_s,
            end_s=failure.end_s,
        )
    elif instance.video_id in dropped:
        yield dataclasses.replace(
            start, error=dropped[instance.video_id], stage="audit", reason="leakage", source=found.source
        )
