"""The page's tables that list what was found: missing clips, pairs, suspects, bitstreams, settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from asl.datasets.instance import Instance
from asl.page.table import Cell, Column, Table
from asl.preprocess.audit.missing_clips import MissingClip
from asl.preprocess.audit.pairs import Pair
from asl.preprocess.audit.statistics import BitstreamFinding
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match, Unmatched

#: Pairs listed on the page, so that it opens quickly; the JSON file of the audit has all.
MAX_PAIRS = 5000

_SPLIT = Column(name="Split", kind="split", menu=True)


def list_tables(result: RunResult) -> dict[str, Table]:
    """The tables that list what was found, by the name that the page's template uses."""
    in_manifest = {clip.video_id for clip in result.clips}
    return {
        "missing": _missing(result.missing),
        "pairs": _pairs(
            result.audit.pairs, in_manifest, result.config.paths.audit(result.config.dataset.name).name
        ),
        "suspects": _suspects(result.metadata.instances, result.matches, result.statistics.suspects),
        "bitstream": _bitstream(result.statistics.bitstream),
        "left_to_cpu": _left_to_cpu(result.cut_results.frames.refused_by_gpu),
        "steps": _steps(result.seconds),
        "settings": _settings(result.config),
        "stale": _stale(result.stale),
    }


def _missing(missing: Iterable[MissingClip]) -> Table:
    return Table(
        caption="Instances without a clip",
        columns=(
            Column(name="Instance", kind="code"),
            Column(name="Gloss"),
            _SPLIT,
            Column(name="Reason", menu=True),
            Column(name="Details", kind="words"),
            Column(name="URL", kind="url"),
        ),
        rows=[[one.video_id, one.gloss, one.split, one.reason, _details(one), one.url] for one in missing],
    )


def _details(missing: MissingClip) -> str:
    """The error without the reason and the URL, which have columns of their own."""
    text = missing.error.removeprefix(f"{missing.reason}: ")
    return text.replace(missing.url, "its URL") if missing.url else text


def _pairs(pairs: Sequence[Pair], in_manifest: Collection[str], full_list: str) -> Table:
    return Table(
        caption="All pairs",
        columns=(
            Column(name="Flags", kind="flags", menu=True),
            Column(name="Kind", menu=True),
            Column(name="First", kind="code"),
            Column(name="First split", kind="split"),
            Column(name="First gloss"),
            Column(name="Second", kind="code"),
            Column(name="Second split", kind="split"),
            Column(name="Second gloss"),
            Column(name="Clips", kind="number", tooltip="how many of the two are in the manifest"),
            Column(name="Similarity", kind="decimal", tooltip="of the moments that differ most, at most 1"),
            Column(name="URL", kind="url", tooltip="of the first"),
        ),
        rows=[
            [
                " ".join(pair.flags),
                pair.kind,
                *(pair.first, pair.splits[0], pair.glosses[0]),
                *(pair.second, pair.splits[1], pair.glosses[1]),
                (pair.first in in_manifest) + (pair.second in in_manifest),
                pair.similarity,
                pair.url,
            ]
            for pair in pairs[:MAX_PAIRS]
        ],
        left_out=max(0, len(pairs) - MAX_PAIRS),
        full_list=full_list,
    )


def _suspects(
    instances: Iterable[Instance], matches: Mapping[str, Match | Unmatched], suspects: Mapping[str, str]
) -> Table:
    instance_of = {instance.video_id: instance for instance in instances}
    rows = []
    for video_id, doubt in suspects.items():
        instance, match = instance_of[video_id], matches[video_id]
        rule = match.rule if isinstance(match, Match) else ""
        rows.append([video_id, instance.gloss, instance.split, doubt, rule, instance.url])
    return Table(
        caption="Suspects",
        columns=(
            Column(name="Instance", kind="code"),
            Column(name="Gloss"),
            _SPLIT,
            Column(name="Evidence against the match", kind="words"),
            Column(name="Matched by", kind="code", menu=True),
            Column(name="URL", kind="url"),
        ),
        rows=rows,
    )


def _bitstream(findings: Iterable[BitstreamFinding]) -> Table:
    return Table(
        caption="Bitstream",
        columns=(
            Column(name="Clip", kind="code"),
            Column(name="Gloss"),
            _SPLIT,
            Column(name="Source", kind="code"),
            Column(
                name="Found",
                kind="words",
                tooltip="and where: picture in decoding order, slice, macroblock, bit",
            ),
        ),
        rows=[[one.video_id, one.gloss, one.split, one.source, one.found] for one in findings],
    )


def _left_to_cpu(reasons: Mapping[str, int]) -> Table:
    return Table(
        caption="Clips that the GPU left to the CPU",
        columns=(Column(name="Reason", kind="words"), Column(name="Clips", kind="bar")),
        rows=[[reason, count] for reason, count in reasons.items()],
    )


def _steps(seconds: Mapping[str, float]) -> Table:
    return Table(
        caption="Steps",
        columns=(Column(name="Step"), Column(name="Seconds", kind="decimal")),
        rows=[[step, duration_s] for step, duration_s in seconds.items()],
    )


def _settings(config: Any) -> Table:
    """Every key of a configuration made of nested dataclasses."""
    return Table(
        caption="Settings",
        columns=(
            Column(name="Key", kind="code"),
            Column(name="Value", kind="code"),
            Column(name="Meaning", kind="words"),
        ),
        rows=list(_flat_settings(config)),
    )


def _flat_settings(config: Any, prefix: str = "") -> Iterator[list[Cell]]:
    for field in dataclasses.fields(config):
        key, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _flat_settings(value, key + ".")
        else:
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            yield [key, shown, field.metadata.get("help", "")]


def _stale(files: Iterable[str]) -> Table:
    return Table(
        caption="Files that belong to no clip of a data set",
        columns=(Column(name="File", kind="code"),),
        rows=[[name] for name in files],
    )
