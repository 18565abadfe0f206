"""The results of a sweep: ``summary.csv``, ``summary.html`` and a table on the terminal.

Runs that differ in ``seed`` or ``data.fold`` alone are a group: mean, spread and best are over them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from asl.files import atomic_write_text
from asl.terminal import print_text

_REPEATS = ("seed", "data.fold")  # keys of runs that repeat each other
_PAGE = Path(__file__).parent / "sweep_page"


@dataclass(frozen=True)
class SweepRun:
    """A job of a sweep."""

    name: str
    overrides: tuple[str, ...]
    folder: Path  # with its metrics.json
    error: str | None  # why it failed

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``; empty if the job failed or wrote none."""
        try:
            return {} if self.error else dict(json.loads((self.folder / "metrics.json").read_bytes()))
        except (OSError, ValueError):
            return {}

    def value(self, key: str) -> str:
        """What the job's overrides set a key to; empty if they do not."""
        values = [one.partition("=")[2] for one in self.overrides if one.lstrip("+").partition("=")[0] == key]
        return values[-1] if values else ""

    @property
    def state(self) -> str:
        """In words."""
        return "failed" if self.error else "done" if self.metrics else "no metrics"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed or fold alone."""

    values: tuple[str, ...]  # of the other swept keys
    runs: Sequence[SweepRun]

    def accuracies(self, name: str) -> list[float]:
        """A figure of ``metrics.json`` of each run that has it."""
        return [run.metrics[name] for run in self.runs if run.metrics.get(name) is not None]


@dataclass(frozen=True)
class SweepSummary:
    """Runs by groups. The group with the best mean on the split that chooses epochs comes first."""

    keys: tuple[str, ...]  # swept, without seed and fold
    repeats: tuple[str, ...]  # of seed and fold, those that are swept
    figures: tuple[str, ...]  # names of top-1 accuracies; the first is of the split that chooses epochs
    groups: Sequence[Group]


def summarize(runs: Sequence[SweepRun]) -> SweepSummary:
    """Group the runs of a sweep."""
    names = dict.fromkeys(one.lstrip("+").partition("=")[0] for run in runs for one in run.overrides)
    swept = [key for key in names if len({run.value(key) for run in runs}) > 1]
    keys = tuple(key for key in swept if key not in _REPEATS)
    figures = tuple(dict.fromkeys(name for run in runs for name in run.metrics if name.endswith("_top1")))
    by_values: dict[tuple[str, ...], list[SweepRun]] = {}
    for run in runs:
        by_values.setdefault(tuple(run.value(key) for key in keys), []).append(run)
    groups = [Group(values, members) for values, members in by_values.items()]

    def rank(group: Group) -> float:
        found = group.accuracies(figures[0]) if figures else []
        return -mean(found) if found else 1.0

    repeats = tuple(key for key in swept if key in _REPEATS)
    return SweepSummary(keys, repeats, figures, sorted(groups, key=rank))


def write_summary(runs: Sequence[SweepRun], folder: Path, console: Console) -> None:
    """Write and print the summary. Does nothing for a single run, or where no run has metrics.

    Args:
        runs: all jobs of the sweep that have ended.
        folder: of the sweep.
        console: shows the table.
    """
    if len(runs) < 2 or not any(run.metrics for run in runs):
        return
    from asl.page.render import write_page  # jinja2 is loaded when it is needed

    summary = summarize(runs)
    atomic_write_text(folder / "summary.csv", _to_csv(summary))
    write_page(folder / "summary.html", _to_html(summary))
    _print(summary, console)
    print_text(console, f"summary  {folder / 'summary.html'}\n         {folder / 'summary.csv'}")


def _rows(summary: SweepSummary) -> Iterator[dict[str, Any]]:
    """A row for each run: its swept keys, its state, its figures and its folder."""
    names = dict.fromkeys(
        name
        for group in summary.groups
        for run in group.runs
        for name, value in run.metrics.items()
        if isinstance(value, int | float)
    )
    for group in summary.groups:
        for run in group.runs:
            yield {
                **{key: run.value(key) for key in (*summary.keys, *summary.repeats)},
                "state": run.state,
                **{name: run.metrics.get(name) for name in names},
                "folder": str(run.folder),
                "error": run.error or "",
            }


def _to_csv(summary: SweepSummary) -> str:
    rows, text = list(_rows(summary)), io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _statistics(group: Group, figure: str) -> tuple[float | None, float | None, float | None]:
    """Mean, standard deviation with n - 1, and best. None where there are too few runs."""
    found = group.accuracies(figure)
    if not found:
        return None, None, None
    return mean(found), stdev(found) if len(found) > 1 else None, max(found)


def _ended(group: Group) -> str:
    done = sum(bool(run.metrics) for run in group.runs)
    return f"{done}" if done == len(group.runs) else f"{done} of {len(group.runs)}"


def _print(summary: SweepSummary, console: Console) -> None:
    table = Table(title="Sweep: mean ± standard deviation over runs", title_justify="left")
    for column in (*summary.keys, "runs"):
        table.add_column(column, justify="right")
    for figure in summary.figures:
        for column in (_title(figure), "best"):
            table.add_column(column, justify="right")
    for group in summary.groups:
        cells = [*group.values, _ended(group)]
        for figure in summary.figures:
            average, deviation, best = _statistics(group, figure)
            cells.append("" if average is None else f"{average:.1%}")
            cells[-1] += "" if deviation is None else f" ± {deviation:.1%}"
            cells.append("" if best is None else f"{best:.1%}")
        table.add_row(*cells)
    console.print(table)


def _title(figure: str) -> str:
    """``val_top1`` -> ``val top-1``."""
    return figure.replace("_top1", " top-1")


def _to_html(summary: SweepSummary) -> str:
    from asl import __version__
    from asl.page.render import render_page
    from asl.page.table import Column, Table

    columns = [*(Column(name=key, kind="code") for key in summary.keys), Column(name="runs")]
    for figure in summary.figures:
        columns += [
            Column(name=_title(figure), kind="share", tooltip="mean over runs"),
            Column(name="deviation", kind="percent", tooltip="standard deviation between runs, with n - 1"),
            Column(name="best", kind="percent"),
        ]
    groups = [
        (
            *group.values,
            _ended(group),
            *(one for figure in summary.figures for one in _statistics(group, figure)),
        )
        for group in summary.groups
    ]
    rows = list(_rows(summary))
    shown = [*summary.keys, *summary.repeats, "state", *summary.figures, "best_epoch", "folder", "error"]
    kinds = {"folder": "code", "error": "words", "state": "text", "best_epoch": "number"}
    return render_page(
        _PAGE,
        tables={
            "groups": Table(
                caption="Over " + (" and ".join(summary.repeats) or "single runs"),
                columns=tuple(columns),
                rows=groups,
            ),
            "runs": Table(
                caption="Each run",
                columns=tuple(
                    Column(
                        name=_title(name),
                        kind="percent" if name in summary.figures else kinds.get(name, "code"),  # type: ignore[arg-type]
                    )
                    for name in shown
                ),
                rows=[[row.get(name) for name in shown] for row in rows],
            ),
        },
        charts={},
        num_runs=len(rows),
        failed=sum(row["state"] != "done" for row in rows),
        keys=[*summary.keys, *summary.repeats],
        version=__version__,
    )
