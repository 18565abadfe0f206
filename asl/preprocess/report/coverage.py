"""Tables that count: clips by split, site, class and signer, durations, and the raw files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from asl.contract.manifest import SPLITS, Clip
from asl.preprocess.report.tables import Cell, Column, Table
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match

_COVERAGE = (
    Column(name="Instances", kind="number", about="rows of the metadata"),
    Column(name="Clips", kind="number", about="of these, proven and in the manifest"),
    Column(name="Missing", kind="number"),
    Column(name="Coverage", kind="share", about="clips / instances"),
)
_BY_SPLIT = tuple(Column(name=split, kind="number", about=f"clips in {split}") for split in SPLITS)


def _coverage(instances: int, clips: int) -> list[Cell]:
    return [instances, clips, instances - clips, clips / instances if instances else None]


def splits(findings: RunResult) -> Table:
    """Instances, sources and clips of each split."""
    instances = Counter(instance.split for instance in findings.metadata.instances)
    matched = Counter(
        instance.split
        for instance in findings.metadata.instances
        if isinstance(findings.matches[instance.video_id], Match)
    )
    clips = Counter(clip.split for clip in findings.clips)
    minutes = {
        split: sum(clip.duration_s for clip in findings.clips if clip.split == split) / 60 for split in SPLITS
    }
    return Table(
        caption="By split",
        columns=(
            Column(name="Split", kind="split"),
            Column(name="Matched", kind="number", about="instances with a source file"),
            *_COVERAGE,
            Column(name="Minutes", kind="decimal", about="of video in the clips"),
        ),
        rows=[
            [split, matched[split], *_coverage(instances[split], clips[split]), round(minutes[split], 1)]
            for split in SPLITS
        ],
    )


def sites(findings: RunResult) -> Table:
    """Coverage of each site, the largest first."""
    site_of = {instance.video_id: instance.site for instance in findings.metadata.instances}
    instances = Counter(site_of.values())
    clips = Counter(site_of[clip.video_id] for clip in findings.clips)
    ranked = sorted(instances, key=lambda site: (-instances[site], site))
    return Table(
        caption="By site",
        columns=(Column(name="Site", about="the metadata's source"), *_COVERAGE),
        rows=[[site or "(not told)", *_coverage(instances[site], clips[site])] for site in ranked],
    )


def classes(findings: RunResult) -> Table:
    """Coverage of each class, the one with most clips first."""
    instances = Counter(instance.gloss for instance in findings.metadata.instances)
    clips = Counter(clip.gloss for clip in findings.clips)
    count = Counter((clip.gloss, clip.split) for clip in findings.clips)
    ranked = sorted(findings.metadata.glosses, key=lambda gloss: (-clips[gloss], gloss))
    return Table(
        caption="By class",
        columns=(Column(name="Gloss"), *_COVERAGE, *_BY_SPLIT),
        rows=[
            [gloss, *_coverage(instances[gloss], clips[gloss]), *(count[gloss, split] for split in SPLITS)]
            for gloss in ranked
        ],
    )


def small(findings: RunResult) -> Table:
    """Classes with few training clips or without a clip in a split."""
    count = Counter((clip.gloss, clip.split) for clip in findings.clips)
    without = {
        gloss: [split for split in SPLITS if not count[gloss, split]] for gloss in findings.metadata.glosses
    }
    small = {gloss for gloss, _ in findings.audit.small_classes}
    listed = [gloss for gloss in findings.metadata.glosses if gloss in small or without[gloss]]
    listed.sort(key=lambda gloss: (count[gloss, "train"], gloss))
    return Table(
        caption="Small and missing classes",
        columns=(Column(name="Gloss"), *_BY_SPLIT, Column(name="No clip in", menu=True)),
        rows=[
            [gloss, *(count[gloss, split] for split in SPLITS), ", ".join(without[gloss])] for gloss in listed
        ],
    )


def signers(findings: RunResult) -> Table:
    """Clips of each signer."""
    clips_of: dict[int, list[Clip]] = {}
    for clip in findings.clips:
        clips_of.setdefault(clip.signer_id, []).append(clip)
    return Table(
        caption="By signer",
        columns=(
            Column(name="Signer", about="the metadata's signer_id"),
            Column(name="Clips", kind="bar"),
            Column(name="Glosses", kind="number", about="different ones"),
            *_BY_SPLIT,
        ),
        rows=[
            [
                str(signer) if signer >= 0 else "(unknown)",
                len(clips),
                len({clip.gloss for clip in clips}),
                *(sum(clip.split == split for clip in clips) for split in SPLITS),
            ]
            for signer, clips in sorted(clips_of.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
    )


def durations(findings: RunResult) -> Table:
    """How long clips are, by split."""

    def quantile(sorted_s: list[float], share: float) -> float | None:
        return round(sorted_s[int(share * (len(sorted_s) - 1) + 0.5)], 2) if sorted_s else None

    rows: list[list[Cell]] = []
    for split in SPLITS:
        spans = sorted(clip.duration_s for clip in findings.clips if clip.split == split)
        rows.append([split, *(quantile(spans, share) for share in (0, 0.05, 0.5, 0.95, 1))])
    names = ("Shortest", "5 % are under", "Median", "5 % are over", "Longest")
    return Table(
        caption="Seconds a clip",
        columns=(
            Column(name="Split", kind="split"),
            *(Column(name=name, kind="decimal", about="seconds") for name in names),
        ),
        rows=rows,
    )


def raw_rates(findings: RunResult) -> Table:
    """Frame rates as the raw files' headers give them."""
    rates = [f"{raw.fps:.2f}".rstrip("0").rstrip(".") for raw in findings.raw_videos.values()]
    return _frequent("Frame rate", "frames a second; 0: the file does not say", rates)


def raw_sizes(findings: RunResult) -> Table:
    """Picture sizes of the raw files."""
    sizes = [f"{raw.width}×{raw.height}" for raw in findings.raw_videos.values()]
    return _frequent("Size", "pixels, upright", sizes)


def raw_codecs(findings: RunResult) -> Table:
    """Codecs, pixel formats and containers of the raw files."""
    codecs = [
        f"{raw.codec or 'unknown'} {raw.pix_fmt} in {PurePosixPath(file).suffix.lower().removeprefix('.')}"
        for file, raw in findings.raw_videos.items()
    ]
    return _frequent("Codec", "with pixel format and container", codecs)


def _frequent(name: str, about: str, values: Iterable[str]) -> Table:
    count = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return Table(
        caption=f"{name} of raw files",
        columns=(Column(name=name, about=about), Column(name="Files", kind="bar")),
        rows=[[value, files] for value, files in count],
    )
