"""The tables that ``evaluate.py`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from asl.data.split import STANDARD
from asl.evaluation.accuracy import Accuracies, Estimate
from asl.evaluation.comparison import Comparison, Spread
from asl.evaluation.confusion import ClassResult, Confusion
from asl.evaluation.coverage import Coverage
from asl.evaluation.groups import GroupResult
from asl.evaluation.intervals import AVERAGES, Interval

_LISTED = 10  # confused pairs, and sites
_WORST = 5  # glosses


def print_evaluation(metrics: Mapping[str, Any], folder: Path) -> None:
    """Print the tables of one evaluation.

    Args:
        metrics: content of ``metrics.json``, with the dataclasses of each figure.
        folder: where the files are.
    """
    console = Console(highlight=False)
    console.print(f"[bold]Evaluation[/bold] of {metrics['checkpoint']} (epoch {metrics['epoch']})")
    views = f", {metrics['views']} views" if metrics["views"] > 1 else ""
    console.print(
        f"{metrics['split']} clips of {metrics['dataset']}, {metrics['data_split']} split{views}: "
        f"{_coverage(metrics['coverage'])}, {metrics['glosses_with_clips']} of {metrics['glosses']} glosses, "
        f"{_signers(metrics['signers'])}{_left_out(metrics['left_out'])}\n"
    )
    if "protocol_note" in metrics:
        console.print(f"[bold]{metrics['protocol']}[/bold]: {metrics['protocol_note']}\n")
    console.print(_accuracies(metrics))
    if metrics["probes"]:
        rows = {"unchanged": metrics["accuracy"], **metrics["probes"]}
        console.print(_probes(rows, metrics["glosses"]))
    console.print(_groups(metrics["groups"]))
    confused: Sequence[Confusion] = metrics["confusions"]
    if confused:
        console.print(_confusions(confused))
        console.print(f"Hardest glosses: {_hardest(metrics['classes'])}\n")
    console.print(f"Calibration error (ECE): {metrics['calibration'].ece:.1%}")
    probed = ", predictions_{probe}.csv" if metrics["probes"] else ""
    console.print(f"Files: {folder}/metrics.json, predictions.csv{probed}", soft_wrap=True, markup=False)
    console.print(f"Page: {folder}/evaluation.html", soft_wrap=True, markup=False)


def print_comparison(result: Mapping[str, Any]) -> None:
    """Print a table for each model against the first one: content of ``comparison.json``."""
    console = Console(highlight=False)
    first, *others = result["files"]
    comparisons: Sequence[Comparison] = result["comparisons"]
    for name, comparison in zip(others, comparisons, strict=True):
        table = _table(f"{name} against {first}, {comparison.clips} clips; differences in percentage points")
        for column in ("", "first", "second", "difference", "95 %, clips", "95 %, signers"):
            table.add_column(column, justify="left" if not column else "right")
        for k, row in comparison.accuracy.items():
            for over in AVERAGES:
                one = row[over]
                table.add_row(
                    _name(k, over),
                    f"{one.first:.1%}",
                    f"{one.second:.1%}",
                    _points(one.difference.value),
                    *map(_points_between, (one.difference.interval, one.difference.interval_by_signer)),
                )
        console.print(table)
        test = comparison.mcnemar
        console.print(
            f"McNemar's test of top-1: only the first is right on {test.only_first} clips, only the second "
            f"on {test.only_second}, p = {test.p_value:.3g}\n"
        )


def print_seeds(result: Mapping[str, Any]) -> None:
    """Print mean, spread and interval over seeds: content of ``comparison.json``."""
    table = _table(f"{len(result['files'])} runs, {result['clips']} clips")
    for column in ("", "mean", "deviation", "95 % of the mean", "runs"):
        table.add_column(column, justify="left" if column in ("", "runs") else "right")
    for k, row in result["accuracy"].items():
        for over in AVERAGES:
            one: Spread = row[over]
            runs = " ".join(f"{value:.1%}" for value in one.values)
            table.add_row(
                _name(k, over), f"{one.mean:.1%}", f"{one.deviation:.1%}", _interval(one.interval), runs
            )
    Console(highlight=False).print(table)


def _accuracies(metrics: Mapping[str, Any]) -> Table:
    """A row for each accuracy, and below it one for the clean clips if others are flagged."""
    standard = metrics["protocol"] == STANDARD
    table = _table("Accuracy" if standard else f"Accuracy, {metrics['protocol']}")
    for column in ("", "", "95 %, other clips", "95 %, other signers"):
        table.add_column(column, justify="left" if not table.columns else "right")
    clean: Accuracies | None = metrics["accuracy_clean"]
    for k, row in metrics["accuracy"].items():
        for over in AVERAGES:
            table.add_row(_name(k, over), *_estimate(row[over]))
            if clean is not None:
                table.add_row(f"  the {metrics['clean_clips']} clean clips", *_estimate(clean[k][over]))
    return table


def _estimate(one: Estimate) -> tuple[str, str, str]:
    """The cells of a figure and its intervals."""
    return f"{one.value:.1%}", _interval(one.interval), _interval(one.interval_by_signer)


def _probes(accuracies: Mapping[str, Accuracies], num_glosses: int) -> Table:
    """A row for each probe, which shows what is left without time or handedness, and one for guessing."""
    table = _table("Probes: clips changed before the network sees them")
    ks = list(next(iter(accuracies.values())))
    for column in ("", *(f"top-{k}" for k in ks), "95 % of top-1", "top-1 over classes"):
        table.add_column(column, justify="right" if column else "left")
    for name, rows in accuracies.items():
        values = [f"{rows[k]['instances'].value:.1%}" for k in ks]
        table.add_row(
            name, *values, _interval(rows[1]["instances"].interval), f"{rows[1]['classes'].value:.1%}"
        )
    table.add_row("chance", *(f"{k / num_glosses:.1%}" for k in ks), "", f"{1 / num_glosses:.1%}")
    return table


def _groups(groups: Mapping[str, Mapping[str, GroupResult]]) -> Table:
    table = _table("Top-1 by group")
    for column in ("", "", "clips", "top-1", "95 %", "over classes"):
        table.add_column(column, justify="right" if column in ("clips", "top-1", "95 %") else "left")
    table.columns[-1].justify = "right"
    for grouping, results in groups.items():
        for i, (name, one) in enumerate(results.items()):
            if i == _LISTED:
                table.add_row("", f"and {len(results) - _LISTED} more in metrics.json")
                break
            table.add_row(
                "" if i else grouping,
                name,
                f"{one.clips:,}",
                f"{one.instances:.1%}",
                _interval(one.interval),
                f"{one.classes:.1%}",
            )
    return table


def _confusions(confused: Sequence[Confusion]) -> Table:
    table = _table("Most confused")
    for column in ("gloss", "taken for", "clips"):
        table.add_column(column, justify="right" if column == "clips" else "left")
    for pair in confused[:_LISTED]:
        table.add_row(pair.gloss, pair.predicted, f"{pair.clips} of {pair.of}")
    return table


def _hardest(classes: Sequence[ClassResult]) -> str:
    missed = [one for one in classes if one.correct < one.clips]
    missed.sort(key=lambda one: (one.correct / one.clips, -one.clips, one.gloss))
    return ", ".join(f"{one.gloss} {one.correct} of {one.clips}" for one in missed[:_WORST])


def _coverage(coverage: Coverage) -> str:
    if coverage.official is None:
        return f"{coverage.clips:,} clips, of how many is unknown ({coverage.reason})"
    return (
        f"{coverage.clips:,} clips of {coverage.official:,} in the metadata "
        f"({coverage.clips / coverage.official:.1%})"
    )


def _signers(count: int) -> str:
    return f"{count} known signers" if count else "no known signers"


def _left_out(count: int) -> str:
    return (
        f"; {count} clips of all splits, whose glosses the network does not know, left out" if count else ""
    )


def _name(k: int, over: str) -> str:
    return f"top-{k} over {over}"


def _interval(interval: Interval | None) -> str:
    return "unknown" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def _points(difference: float) -> str:
    """A difference of two shares in percentage points."""
    return f"{100 * difference:+.1f}"


def _points_between(interval: Interval | None) -> str:
    return "unknown" if interval is None else " to ".join(map(_points, interval))


def _table(title: str) -> Table:
    """A table without lines, with an empty line after it."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=" ",
        box=None,
        pad_edge=False,
    )
