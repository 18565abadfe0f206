"""The page's tables of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asl.contract.manifest import SPLITS
from asl.page.table import Cell, Column, Table
from asl.preprocess.audit.audit import Audit
from asl.preprocess.audit.statistics import Coverage, Durations, Statistics

STAGE_LABELS = {
    "metadata": "row refused",
    "match": "no source",
    "cut": "cut failed",
    "audit": "dropped",
}

_RULE_MEANINGS = {
    "path": "The metadata names the file.",
    "video_id": "The file is named after the instance, and no other instance can mean it.",
    "youtube_id": "The file's name has the id of the instance's YouTube video.",
    "url_name": "The file is named like the last part of the URL, and no other video is.",
    "evidence": "Several videos have that name; length and picture size decide whose the file is.",
}

_KIND_MEANINGS = {
    "same segment": "The metadata names the same segment of the same video twice.",
    "overlapping segments": "Two segments of the same video share frames.",
    "same content": "The clips show the same, under different names or encodings.",
}

_COVERAGE = (
    Column(name="Instances", kind="number", tooltip="rows of the metadata"),
    Column(name="Clips", kind="number", tooltip="instances with a proven clip in the manifest"),
    Column(name="Missing", kind="number"),
    Column(name="Coverage", kind="share", tooltip="clips / instances"),
)
_CLIPS_IN = tuple(Column(name=split, kind="number", tooltip=f"clips in {split}") for split in SPLITS)


def statistics_tables(numbers: Statistics, audit: Audit) -> dict[str, Table]:
    """The tables of numbers, by the name that the page's template uses."""
    return {
        "reasons": _reasons(numbers),
        "splits": _splits(numbers),
        "classes": _classes(numbers),
        "sites": _sites(numbers),
        "signers": _signers(numbers),
        "small_classes": _small_classes(numbers, audit),
        "matching": _matching(numbers),
        "pair_kinds": _pair_kinds(audit),
        "durations": _durations(numbers),
        "raw_rates": _frequencies(
            "Frame rate", "frames per second; 0 if the file has none", numbers.raw_rates
        ),
        "raw_sizes": _frequencies("Size", "pixels, upright", numbers.raw_sizes),
        "raw_codecs": _frequencies("Codec", "with pixel format and container", numbers.raw_codecs),
    }


def _reasons(numbers: Statistics) -> Table:
    return Table(
        caption="Reasons",
        columns=(
            Column(name="Reason"),
            Column(name="Step", tooltip="in which the instance lost its clip"),
            Column(name="Instances", kind="bar"),
        ),
        rows=[[reason, STAGE_LABELS[stage], count] for (stage, reason), count in numbers.reasons.items()],
    )


def _coverage(row: Coverage) -> list[Cell]:
    return [row.instances, row.clips, row.missing, row.share]


def _clips_in(row: Coverage) -> list[Cell]:
    return [row.clips_in[split] for split in SPLITS]


def _splits(numbers: Statistics) -> Table:
    return Table(
        caption="By split",
        columns=(
            Column(name="Split", kind="split"),
            Column(name="Matched", kind="number", tooltip="instances with a source file"),
            *_COVERAGE,
            Column(name="Minutes", kind="decimal", tooltip="of video in the clips"),
        ),
        rows=[
            [split, row.matched, *_coverage(row), round(row.duration_s / 60, 1)]
            for split, row in numbers.by_split.items()
        ],
    )


def _classes(numbers: Statistics) -> Table:
    return Table(
        caption="By class",
        columns=(Column(name="Gloss"), *_COVERAGE, *_CLIPS_IN),
        rows=[[gloss, *_coverage(row), *_clips_in(row)] for gloss, row in numbers.by_class.items()],
    )


def _sites(numbers: Statistics) -> Table:
    return Table(
        caption="By site",
        columns=(Column(name="Site", tooltip="web site that the metadata names"), *_COVERAGE),
        rows=[[site or "(unknown)", *_coverage(row)] for site, row in numbers.by_site.items()],
    )


def _signers(numbers: Statistics) -> Table:
    return Table(
        caption="By signer",
        columns=(
            Column(name="Signer", tooltip="signer_id of the metadata"),
            Column(name="Clips", kind="bar"),
            Column(name="Glosses", kind="number", tooltip="different glosses of the clips"),
            *_CLIPS_IN,
        ),
        rows=[
            [signer or "(unknown)", row.clips, row.glosses, *_clips_in(row)]
            for signer, row in numbers.by_signer.items()
            if row.clips
        ],
    )


def _small_classes(numbers: Statistics, audit: Audit) -> Table:
    """Classes with few training clips or without any clip in a split, the smallest first."""
    small = {gloss for gloss, _ in audit.small_classes}
    without = {
        gloss: [split for split in SPLITS if not row.clips_in[split]]
        for gloss, row in numbers.by_class.items()
    }
    listed = [(gloss, row) for gloss, row in numbers.by_class.items() if gloss in small or without[gloss]]
    listed.sort(key=lambda item: (item[1].clips_in["train"], item[0]))
    return Table(
        caption="Small and missing classes",
        columns=(Column(name="Gloss"), *_CLIPS_IN, Column(name="No clip in", menu=True)),
        rows=[[gloss, *_clips_in(row), ", ".join(without[gloss])] for gloss, row in listed],
    )


def _matching(numbers: Statistics) -> Table:
    return Table(
        caption="Instances by matching rule",
        columns=(
            Column(name="Matched by", kind="code"),
            Column(name="Instances", kind="bar"),
            Column(name="Meaning", kind="words"),
        ),
        rows=[[rule, count, _RULE_MEANINGS[rule]] for rule, count in numbers.matched_by.items()],
    )


def _pair_kinds(audit: Audit) -> Table:
    return Table(
        caption="Pairs by kind",
        columns=(
            Column(name="Pairs of instances with"),
            Column(name="Pairs", kind="number"),
            Column(name="In two splits", kind="number", tooltip="leakage"),
            Column(name="Under two glosses", kind="number", tooltip="conflicts"),
            Column(name="Meaning", kind="words"),
        ),
        rows=[
            [kind, row["pairs"], row["across_splits"], row["two_glosses"], _KIND_MEANINGS[kind]]
            for kind, row in audit.counts().items()
        ],
    )


def _durations(numbers: Statistics) -> Table:
    def row(split: str, durations: Durations | None) -> Sequence[Cell]:
        if durations is None:
            return [split, *[None] * 6]
        quantiles = (durations.shortest, durations.p5, durations.median, durations.p95, durations.longest)
        return [split, durations.mean, *quantiles]

    names = ("Mean", "Shortest", "5 % below", "Median", "5 % above", "Longest")
    return Table(
        caption="Durations of clips",
        columns=(
            Column(name="Split", kind="split"),
            *(Column(name=name, kind="decimal", tooltip="seconds") for name in names),
        ),
        rows=[
            *(row(split, durations) for split, durations in numbers.durations_in.items()),
            row("all", numbers.durations),
        ],
    )


def _frequencies(name: str, tooltip: str, count: Mapping[str, int]) -> Table:
    return Table(
        caption=f"{name} of raw files",
        columns=(Column(name=name, tooltip=tooltip), Column(name="Files", kind="bar")),
        rows=[[value, files] for value, files in count.items()],
    )
