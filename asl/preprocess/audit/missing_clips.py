"""Instances without a clip, and why: ``{dataset}_preprocess_errors.csv``."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from asl.datasets.instance import Instance, Metadata
from asl.files import atomic_write_text
from asl.preprocess.clips.cutting import CutFailure
from asl.preprocess.sources.matching import Match, Unmatched

#: The steps of preprocessing in which an instance can lose its clip.
STAGES = ("metadata", "match", "cut", "audit")

#: Of these, the ones that are failures. Many videos of WLASL can no longer be downloaded, and the audit
#: drops only what the configuration tells it to drop.
FAILURES = ("metadata", "cut")


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingClip:
    """A row of the file: an instance, and what a person needs to know to get its clip."""

    video_id: str
    error: str
    stage: str  # one of STAGES
    reason: str  # a short cause, equal for all clips that it concerns; reports count by it
    split: str = ""
    gloss: str = ""
    source: str = ""  # the raw file, or all raw files with the instance's name, separated by spaces
    start_s: float | None = None
    end_s: float | None = None
    url: str = ""
    rivals: str = ""  # video_ids of other videos that claim the same raw files, separated by spaces

    @property
    def is_failure(self) -> bool:
        """Whether a row was refused or a cut failed; ``strict=true`` exits with 1 then."""
        return self.stage in FAILURES


def write_missing_clips(path: Path, missing: Iterable[MissingClip]) -> None:
    """Write the CSV file. It is replaced as a whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [field.name for field in dataclasses.fields(MissingClip)]
    writer.writerow(columns)
    writer.writerows(map(attrgetter(*columns), missing))
    atomic_write_text(path, text.getvalue())


def find_missing_clips(
    metadata: Metadata,
    matches: Mapping[str, Match | Unmatched],
    failures: Mapping[str, CutFailure],
    dropped: Mapping[str, Sequence[str]],
) -> list[MissingClip]:
    """Every row of the metadata without a row in the manifest, by stage and video_id.

    Args:
        metadata: its refused rows are listed first, in the order of its file.
        matches: the sources, by video_id.
        failures: of cutting, by video_id.
        dropped: by video_id of a clip that the audit took out of train, its copies in val and test.
    """
    missing = [
        MissingClip(video_id=row.video_id, error=row.error, stage="metadata", reason="row refused")
        for row in metadata.refused
    ]
    for instance in metadata.instances:
        found = matches[instance.video_id]
        if isinstance(found, Unmatched):
            missing.append(_unmatched(instance, found))
        elif instance.video_id in failures:
            missing.append(_not_cut(instance, found, failures[instance.video_id]))
        elif instance.video_id in dropped:
            missing.append(_dropped(instance, found, dropped[instance.video_id]))
    return sorted(missing, key=_order)


def _order(missing: MissingClip) -> tuple[int, str]:
    return STAGES.index(missing.stage), "" if missing.stage == "metadata" else missing.video_id


def _unmatched(instance: Instance, found: Unmatched) -> MissingClip:
    return MissingClip(
        video_id=instance.video_id,
        error=f"{found.reason}: {found.detail}",
        stage="match",
        reason=found.reason,
        split=instance.split,
        gloss=instance.gloss,
        source=" ".join(found.candidates),
        url=instance.url,
        rivals=" ".join(found.rivals),
    )


def _not_cut(instance: Instance, found: Match, failure: CutFailure) -> MissingClip:
    return MissingClip(
        video_id=instance.video_id,
        error=failure.error,
        stage="cut",
        reason=failure.reason,
        split=instance.split,
        gloss=instance.gloss,
        source=found.source,
        start_s=failure.start_s,
        end_s=failure.end_s,
        url=instance.url,
    )


def _dropped(instance: Instance, found: Match, copies: Sequence[str]) -> MissingClip:
    return MissingClip(
        video_id=instance.video_id,
        error=f"is the same video as {', '.join(copies)} of val or test (audit.leakage=drop_train)",
        stage="audit",
        reason="leakage",
        split=instance.split,
        gloss=instance.gloss,
        source=found.source,
        url=instance.url,
    )
