"""Tables of what is missing, how sources are known, and what is doubtful."""

from __future__ import annotations

from collections import Counter

from asl.preprocess.report.tables import Cell, Column, Table
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match
from asl.preprocess.sources.names import RULES

#: A page with more pairs than this would be slow to open; audit.json has them all.
MOST_PAIRS = 5000

STAGE_WORDS = {
    "metadata": "row refused",
    "match": "no source",
    "cut": "cut failed",
    "audit": "taken out",
}

RULE_WORDS = {
    "video_id": "The file is named after the instance. Nobody else can mean it.",
    "youtube_id": "The file bears the id of the instance's YouTube video.",
    "url_name": "The file is named like the end of the URL, and no other video has that name.",
    "evidence": "Several videos have that name; length and picture size tell whose the file is.",
}

_SPLIT = Column(name="Split", kind="split", menu=True)


def reasons(findings: RunResult) -> Table:
    """How many instances have no clip for which reason."""
    count = Counter((problem.stage, problem.reason) for problem in findings.problems)
    ranked = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    return Table(
        caption="Reasons",
        columns=(
            Column(name="Reason"),
            Column(name="Step", about="where the instance was lost"),
            Column(name="Instances", kind="bar"),
        ),
        rows=[[reason, STAGE_WORDS[stage], number] for (stage, reason), number in ranked],
    )


def problems(findings: RunResult) -> Table:
    """Every instance without a clip."""
    return Table(
        caption="Instances without a clip",
        columns=(
            Column(name="Instance", kind="code"),
            Column(name="Gloss"),
            _SPLIT,
            Column(name="Reason", menu=True),
            Column(name="What to do or what is wrong", kind="words"),
            Column(name="URL", kind="url"),
        ),
        rows=[
            [
                problem.video_id,
                problem.gloss,
                problem.split,
                problem.reason,
                _shortened(problem.error, problem.reason, problem.url),
                problem.url,
            ]
            for problem in findings.problems
        ],
    )


def _shortened(error: str, reason: str, url: str) -> str:
    """Without what stands in the columns beside it."""
    text = error.removeprefix(f"{reason}: ")
    return text.replace(url, "its URL") if url else text


def matching(findings: RunResult) -> Table:
    """How many sources are known by which rule."""
    count = Counter(match.rule for match in findings.matches.values() if isinstance(match, Match))
    return Table(
        caption="How the source is known",
        columns=(
            Column(name="Known by", kind="code"),
            Column(name="Instances", kind="bar"),
            Column(name="That means", kind="words"),
        ),
        rows=[[rule, count[rule], RULE_WORDS[rule]] for rule in RULES if count[rule]],
    )


def pair_kinds(findings: RunResult) -> Table:
    """How many pairs of each kind there are."""
    about = {
        "same segment": "The metadata names the same piece of the same video twice.",
        "overlapping segments": "Two pieces of the same video share frames.",
        "same content": "The clips show the same, whatever their names and encodings.",
    }
    return Table(
        caption="Pairs",
        columns=(
            Column(name="Pairs of instances with the"),
            Column(name="Pairs", kind="number"),
            Column(name="In two splits", kind="number", about="leakage"),
            Column(name="Under two glosses", kind="number", about="conflicts"),
            Column(name="That means", kind="words"),
        ),
        rows=[
            [kind, row["pairs"], row["across_splits"], row["two_glosses"], about[kind]]
            for kind, row in findings.audit.counts().items()
        ],
    )


def pairs(findings: RunResult) -> Table:
    """The pairs, as many as a page can hold."""
    there = {clip.video_id for clip in findings.clips}
    found = findings.audit.pairs
    return Table(
        caption="All pairs",
        columns=(
            Column(name="Problem", kind="flags", menu=True),
            Column(name="Kind", menu=True),
            Column(name="One", kind="code"),
            Column(name="Split", kind="split"),
            Column(name="Gloss"),
            Column(name="Other", kind="code"),
            Column(name="Its split", kind="split"),
            Column(name="Its gloss"),
            Column(name="Clips", kind="number", about="how many of the two are in the manifest"),
            Column(name="Similarity", kind="decimal", about="of what moves, 1: the same"),
            Column(name="URL", kind="url", about="of the one"),
        ),
        rows=[
            [
                " ".join(pair.flags),
                pair.kind,
                *(pair.first, pair.splits[0], pair.glosses[0]),
                *(pair.second, pair.splits[1], pair.glosses[1]),
                (pair.first in there) + (pair.second in there),
                pair.similarity,
                pair.url,
            ]
            for pair in found[:MOST_PAIRS]
        ],
        left_out=max(0, len(found) - MOST_PAIRS),
        full_list="audit.json",
    )


def suspects(findings: RunResult) -> Table:
    """Matches that evidence speaks against."""
    rows: list[list[Cell]] = []
    for instance in findings.metadata.instances:
        match = findings.matches[instance.video_id]
        if isinstance(match, Match) and match.objection:
            rows.append(
                [
                    *(instance.video_id, instance.gloss, instance.split),
                    f"{match.source} {match.objection}",
                    match.rule,
                    instance.url,
                ]
            )
    return Table(
        caption="Suspects",
        columns=(
            Column(name="Instance", kind="code"),
            Column(name="Gloss"),
            _SPLIT,
            Column(name="What speaks against it", kind="words"),
            Column(name="Known by", kind="code", menu=True),
            Column(name="URL", kind="url"),
        ),
        rows=sorted(rows, key=lambda row: str(row[0])),
    )
