"""The tables of ``evaluation.html``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asl.evaluation.accuracy import Accuracies
from asl.evaluation.confusion import ClassResult, Confusion
from asl.evaluation.groups import GroupResult
from asl.evaluation.inference import UNCHANGED
from asl.evaluation.intervals import AVERAGES, Interval
from asl.evaluation.predictions import Prediction
from asl.page.table import Cell, Column, Table

#: Rows of the tables of clips and of pairs, so that the page opens quickly; the files beside it have all.
MAX_ROWS = 5000

_FROM = Column(name="95 % from", kind="percent", tooltip="interval of other clips of the same kind")
_TO = Column(name="to", kind="percent")


def page_tables(metrics: Mapping[str, Any], mistakes: Sequence[Prediction]) -> dict[str, Table]:
    """Every table of the page, by the name that the page's template uses."""
    return {
        "accuracy": _accuracy(metrics),
        "probes": _probes(metrics["accuracy"], metrics["probes"], metrics["glosses"]),
        "groups": _groups(metrics["groups"]),
        "classes": _classes(metrics["classes"]),
        "confusions": _confusions(metrics["confusions"]),
        "mistakes": _mistakes(mistakes),
        "measured": _measured(metrics),
    }


def _ends(interval: Interval | None) -> Sequence[Cell]:
    return (None, None) if interval is None else interval


def _accuracy(metrics: Mapping[str, Any]) -> Table:
    """A row for each accuracy, and below it one for the clean clips if others are flagged."""
    measured: dict[str, Accuracies] = {f"all {metrics['clips']:,}": metrics["accuracy"]}
    if metrics["accuracy_clean"] is not None:
        measured[f"{metrics['clean_clips']:,} clean"] = metrics["accuracy_clean"]
    return Table(
        caption="Accuracy",
        columns=(
            Column(name="Right", tooltip="the gloss is the first one, or among the first 5 or 10"),
            Column(name="Over", tooltip="every clip counts the same, or every gloss"),
            Column(name="Clips", tooltip="clean: without a flag other than duplicate"),
            Column(name="Accuracy", kind="share"),
            _FROM,
            _TO,
            Column(name="other signers: 95 % from", kind="percent", tooltip="interval of other signers"),
            _TO,
        ),
        rows=[
            [
                *(f"top-{k}", over, name, accuracies[k][over].value),
                *_ends(accuracies[k][over].interval),
                *_ends(accuracies[k][over].interval_by_signer),
            ]
            for k in metrics["accuracy"]
            for over in AVERAGES
            for name, accuracies in measured.items()
        ],
    )


def _probes(unchanged: Accuracies, probes: Mapping[str, Accuracies], num_glosses: int) -> Table:
    """A row for each probe and one for guessing; no rows without probes."""
    rows: list[Sequence[Cell]] = [
        [
            name,
            *(row[k]["instances"].value for k in row),
            *_ends(row[1]["instances"].interval),
            row[1]["classes"].value,
        ]
        for name, row in {UNCHANGED: unchanged, **probes}.items()
    ]
    rows.append(["guessing", *(k / num_glosses for k in unchanged), None, None, 1 / num_glosses])
    return Table(
        caption="Probes",
        columns=(
            Column(name="Clips"),
            *(Column(name=f"Top-{k}", kind="share") for k in unchanged),
            Column(name="top-1, 95 % from", kind="percent", tooltip="interval of other clips"),
            _TO,
            Column(name="Top-1 over classes", kind="percent"),
        ),
        rows=rows if probes else (),
    )


def _groups(groups: Mapping[str, Mapping[str, GroupResult]]) -> Table:
    return Table(
        caption="Top-1 by group",
        columns=(
            Column(name="By", menu=True),
            Column(name="Clips that are"),
            Column(name="Clips", kind="bar"),
            Column(name="Over instances", kind="share"),
            _FROM,
            _TO,
            Column(name="Over classes", kind="percent"),
        ),
        rows=[
            [grouping, name, one.clips, one.instances, *one.interval, one.classes]
            for grouping, results in groups.items()
            for name, one in results.items()
        ],
    )


def _classes(classes: Sequence[ClassResult]) -> Table:
    return Table(
        caption="Glosses",
        columns=(
            Column(name="Gloss"),
            Column(name="Clips", kind="number"),
            Column(name="Right", kind="number", tooltip="clips whose first gloss is this one"),
            Column(name="Recall", kind="share", tooltip="right / clips"),
            _FROM,
            _TO,
            Column(
                name="Taken for it", kind="number", tooltip="clips of any gloss that are taken for this one"
            ),
        ),
        rows=[
            [one.gloss, one.clips, one.correct, one.correct / one.clips, *one.interval, one.predicted]
            for one in classes
        ],
    )


def _confusions(confusions: Sequence[Confusion]) -> Table:
    return Table(
        caption="Most confused",
        columns=(
            Column(name="Gloss"),
            Column(name="Taken for"),
            Column(name="Clips", kind="bar"),
            Column(name="Of", kind="number", tooltip="clips of the gloss"),
            Column(name="Share", kind="share"),
        ),
        rows=[
            [one.gloss, one.predicted, one.clips, one.of, one.clips / one.of] for one in confusions[:MAX_ROWS]
        ],
        left_out=max(0, len(confusions) - MAX_ROWS),
        full_list="metrics.json",
    )


def _mistakes(mistakes: Sequence[Prediction]) -> Table:
    return Table(
        caption="Clips that went wrong",
        columns=(
            Column(name="Clip", kind="code"),
            Column(name="Gloss"),
            Column(name="Taken for"),
            Column(name="Probability", kind="share", tooltip="of the gloss that it is taken for"),
            Column(name="Of its gloss", kind="percent", tooltip="probability"),
            Column(name="Rank", kind="number", tooltip="of its gloss"),
            Column(name="Signer", menu=True),
            Column(name="Flags", kind="flags", menu=True),
            Column(name="Site", menu=True),
        ),
        rows=[
            [
                *(one.video_id, one.gloss, one.predicted, one.confidence, one.probability, one.rank),
                *(signer_text(one), one.flags, one.site),
            ]
            for one in mistakes[:MAX_ROWS]
        ],
        left_out=max(0, len(mistakes) - MAX_ROWS),
        full_list="predictions.csv",
    )


def signer_text(one: Prediction) -> str:
    """The clip's signer, and whether training has clips of it."""
    if one.signer_in_train is None:
        return "signer unknown"
    return f"signer {one.signer_id}{'' if one.signer_in_train else ', not in training'}"


def _measured(metrics: Mapping[str, Any]) -> Table:
    meanings = {
        "checkpoint": "the file",
        "epoch": "of training, from 1",
        "model": "network",
        "dataset": "data set",
        "data_split": "how clips are split",
        "split": "which of them are measured",
        "views": "temporal views of a clip whose probabilities are averaged",
        "probes": "changes of clips that are measured, too",
        "device": "where the network ran",
        "precision": "of the network",
        "glosses": "that the network knows",
        "glosses_with_clips": "that are measured",
        "left_out": "clips of all splits, whose glosses the network does not know",
        "signers": "known ones, of the clips",
        "resamples": "of each bootstrap",
        "seed": "of the bootstrap and of the probe shuffle",
    }
    values = {**metrics, "probes": ", ".join(metrics["probes"]) or "none"}
    return Table(
        caption="What was measured",
        columns=(
            Column(name="Key", kind="code"),
            Column(name="Value", kind="code"),
            Column(name="Meaning", kind="words"),
        ),
        rows=[[key, str(values[key]), meaning] for key, meaning in meanings.items()],
    )
