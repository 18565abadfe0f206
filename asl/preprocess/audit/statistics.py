"""The numbers of a run, computed once; the terminal, the JSON summary and the page only format them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np

from asl.contract.manifest import SPLITS, Clip, signer_order
from asl.datasets.instance import Instance, Metadata
from asl.preprocess.audit.missing_clips import MissingClip
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.matching import RULES, Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideo

Value = TypeVar("Value", str, tuple[str, str])


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many of some instances have a source and a clip."""

    instances: int = 0
    matched: int = 0  # instances with a source file
    clips: int = 0  # instances with a clip in the manifest
    clips_in: Mapping[str, int]  # by split
    glosses: int = 0  # different glosses of the clips
    duration_s: float = 0.0  # of all clips together

    @property
    def missing(self) -> int:
        """Instances without a clip."""
        return self.instances - self.clips

    @property
    def share(self) -> float | None:
        """Clips per instance, from 0 to 1. None if there are no instances."""
        return self.clips / self.instances if self.instances else None


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Quantiles of the clips' durations in seconds, rounded to milliseconds."""

    mean: float
    shortest: float
    p5: float
    median: float
    p95: float
    longest: float


@dataclass(frozen=True, kw_only=True)
class ClassSizes:
    """Numbers of clips of the smallest, the median and the largest class."""

    min: int
    median: float
    max: int


@dataclass(frozen=True, kw_only=True)
class BitstreamFinding:
    """A clip of the manifest that the GPU's parser of H.264 refuses, and the host's strict decoder takes."""

    video_id: str
    gloss: str
    split: str
    source: str  # raw file, relative to dataset.root
    found: str  # what, and where: picture in decoding order, slice, macroblock, bit


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The numbers of a run. All mappings are in the order in which they are shown."""

    overall: Coverage
    by_split: Mapping[str, Coverage]
    by_site: Mapping[str, Coverage]  # the site with most instances first; "" is an unknown site
    by_class: Mapping[str, Coverage]  # the gloss with most clips first
    by_signer: Mapping[str, Coverage]  # the signer with most clips first; "" is an unknown signer
    class_sizes: ClassSizes | None  # None if there are no classes
    reasons: Mapping[tuple[str, str], int]  # (stage, reason) of missing clips, the most frequent first
    failures: int  # refused rows and failed cuts
    matched_by: Mapping[str, int]  # rules that matched an instance, in the order of RULES
    suspects: Mapping[str, str]  # by video_id, what speaks against the match
    bitstream: Sequence[BitstreamFinding]  # sorted by video_id
    durations: Durations | None  # of all clips; None if there are none
    durations_in: Mapping[str, Durations | None]  # by split
    copied: int  # proven clips whose source was copied
    encoded: int  # proven clips that were encoded
    raw_rates: Mapping[str, int]  # frame rates of raw files, the most frequent first
    raw_sizes: Mapping[str, int]  # picture sizes, as WIDTHxHEIGHT
    raw_codecs: Mapping[str, int]  # codec, pixel format and container


def compute_statistics(
    *,
    metadata: Metadata,
    matches: Mapping[str, Match | Unmatched],
    clips: Sequence[Clip],
    missing: Sequence[MissingClip],
    proofs: Mapping[str, Proof],
    raw_videos: Mapping[str, RawVideo],
) -> Statistics:
    """The numbers of a run.

    Args:
        metadata: with the splits that are used.
        matches: the sources, by video_id.
        clips: the manifest's rows.
        missing: the rows of the metadata without a clip.
        proofs: of all clips that were cut, by video_id, also those that the audit dropped.
        raw_videos: what is known of the raw files that some instance claims, by their path.
    """
    matched = {video_id: found for video_id, found in matches.items() if isinstance(found, Match)}

    overall, by_split, by_site, by_class, by_signer = coverage_by(
        [
            lambda _: "",
            lambda instance: instance.split,
            lambda instance: instance.site,
            lambda instance: instance.gloss,
            lambda instance: instance.signer_id,
        ],
        metadata.instances,
        matched,
        clips,
    )
    empty = _Counts().coverage()
    classes = {gloss: by_class.get(gloss, empty) for gloss in metadata.glosses}
    rules = Counter(found.rule for found in matched.values())
    return Statistics(
        overall=overall.get("", empty),
        by_split={split: by_split.get(split, empty) for split in SPLITS},
        by_site=dict(sorted(by_site.items(), key=lambda item: (-item[1].instances, item[0]))),
        by_class=dict(sorted(classes.items(), key=lambda item: (-item[1].clips, item[0]))),
        by_signer=dict(sorted(by_signer.items(), key=lambda item: (-item[1].clips, signer_order(item[0])))),
        class_sizes=class_sizes([one.clips for one in classes.values()]),
        reasons=by_frequency((one.stage, one.reason) for one in missing),
        failures=sum(one.is_failure for one in missing),
        matched_by={rule: rules[rule] for rule in RULES if rules[rule]},
        suspects={
            video_id: f"{matched[video_id].source} {matched[video_id].objection}"
            for video_id in sorted(video_id for video_id, found in matched.items() if found.objection)
        },
        bitstream=bitstream_findings(clips, proofs),
        durations=durations([clip.duration_s for clip in clips]),
        durations_in={
            split: durations([clip.duration_s for clip in clips if clip.split == split]) for split in SPLITS
        },
        copied=sum(proof.copied for proof in proofs.values()),
        encoded=sum(not proof.copied for proof in proofs.values()),
        raw_rates=by_frequency(f"{raw.fps:.2f}".rstrip("0").rstrip(".") for raw in raw_videos.values()),
        raw_sizes=by_frequency(f"{raw.width}×{raw.height}" for raw in raw_videos.values()),
        raw_codecs=by_frequency(_codec(file, raw) for file, raw in raw_videos.items()),
    )


def bitstream_findings(clips: Iterable[Clip], proofs: Mapping[str, Proof]) -> list[BitstreamFinding]:
    """The clips that only the GPU's parser refuses, sorted by video_id.

    Args:
        clips: the manifest's rows.
        proofs: of these clips at least, by video_id.
    """
    findings = [
        BitstreamFinding(
            video_id=clip.video_id, gloss=clip.gloss, split=clip.split, source=clip.source, found=found
        )
        for clip in clips
        if (found := proofs[clip.video_id].bitstream)
    ]
    return sorted(findings, key=lambda finding: finding.video_id)


@dataclass(slots=True)
class _Counts:
    """The counts of one group, from which its coverage is made."""

    instances: int = 0
    matched: int = 0
    clips_in: Counter[str] = field(default_factory=Counter)
    glosses: set[str] = field(default_factory=set)
    duration_s: float = 0.0

    def add(self, clip: Clip | None, *, matched: bool) -> None:
        """Count an instance. ``clip`` is its clip; None if it has none."""
        self.instances += 1
        self.matched += matched
        if clip is not None:
            self.clips_in[clip.split] += 1
            self.glosses.add(clip.gloss)
            self.duration_s += clip.duration_s

    def coverage(self) -> Coverage:
        """The coverage of the group."""
        return Coverage(
            instances=self.instances,
            matched=self.matched,
            clips=self.clips_in.total(),
            clips_in={split: self.clips_in[split] for split in SPLITS},
            glosses=len(self.glosses),
            duration_s=self.duration_s,
        )


def coverage_by(
    keys: Sequence[Callable[[Instance], str]],
    instances: Iterable[Instance],
    matched: Collection[str],
    clips: Iterable[Clip],
) -> list[dict[str, Coverage]]:
    """Coverage of groups of instances, for each of several groupings.

    All in one pass in the order of the instances, in which the rows were made: in the order of the groups, a
    million rows take five times as long, as few of them are in the processor's cache.

    Args:
        keys: of each grouping, the group of an instance.
        instances: all of the data set.
        matched: video_ids of instances with a source.
        clips: the manifest's rows.
    """
    clip_of = {clip.video_id: clip for clip in clips}
    groupings = [(key, defaultdict[str, _Counts](_Counts)) for key in keys]
    for instance in instances:
        clip, is_matched = clip_of.get(instance.video_id), instance.video_id in matched
        for key, counts in groupings:
            counts[key(instance)].add(clip, matched=is_matched)
    return [{group: one.coverage() for group, one in counts.items()} for _, counts in groupings]


def durations(durations_s: Sequence[float]) -> Durations | None:
    """Quantiles of durations; between two values they are interpolated linearly. None if there are none."""
    if not durations_s:
        return None
    shortest, p5, median, p95, longest = np.percentile(durations_s, [0, 5, 50, 95, 100]).round(3).tolist()
    return Durations(
        mean=round(statistics.fmean(durations_s), 3),
        shortest=shortest,
        p5=p5,
        median=median,
        p95=p95,
        longest=longest,
    )


def class_sizes(counts: Sequence[int]) -> ClassSizes | None:
    """The smallest, the median and the largest of some counts. None if there are none."""
    if not counts:
        return None
    return ClassSizes(min=min(counts), median=statistics.median(counts), max=max(counts))


def by_frequency(values: Iterable[Value]) -> dict[Value, int]:
    """How often each value occurs, the most frequent first, equally frequent ones sorted."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _codec(file: str, raw: RawVideo) -> str:
    container = PurePosixPath(file).suffix.lower().removeprefix(".")
    return f"{raw.codec or 'unknown'} {raw.pix_fmt} in {container}"
