"""The charts of ``evaluation.html``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from asl.evaluation.accuracy import Accuracies
from asl.evaluation.calibration import Calibration
from asl.evaluation.confusion import ClassResult
from asl.evaluation.inference import UNCHANGED
from asl.evaluation.page.history import History
from asl.page.charts import (
    MAX_NAMED_COLUMNS,
    MAX_WIDE_COLUMNS,
    SHARE_TICKS,
    Chart,
    Series,
    bar,
    isolated,
    level,
    line,
    round_ticks,
    tick_texts,
    whisker,
)


def page_charts(metrics: Mapping[str, Any], history: History | None) -> dict[str, Chart | None]:
    """Every chart of the page, by the name that the page's template uses; None if it has nothing to show."""
    return {
        **_curves(history or History((), {}), metrics["epoch"]),
        "probes": _probes(metrics["accuracy"], metrics["probes"], metrics["glosses"]),
        "classes": _classes(metrics["classes"]),
        **_calibration(metrics["calibration"]),
    }


def _curves(history: History, measured: int) -> dict[str, Chart | None]:
    return {
        "losses": _curve("Loss", history, measured, endings=("_loss",)),
        "accuracies": _curve("Accuracy", history, measured, endings=("_top1", "_top5"), share=True),
        "rates": _curve("Learning rate", history, measured, endings=("lr",)),
    }


def _curve(
    title: str, history: History, measured: int, *, endings: tuple[str, ...], share: bool = False
) -> Chart | None:
    """Lines of some columns over epochs, with the epoch of the measured checkpoint.

    Args:
        title: of the chart.
        history: of the training.
        measured: the measured epoch.
        endings: of the columns' names.
        share: whether values are shares, shown in percent.

    Returns:
        None if no value is known.
    """
    values = {name: row for name, row in history.values.items() if name.endswith(endings)}
    known = [value for row in values.values() for value in row if value is not None]
    if not known:
        return None
    ticks = round_ticks(max(known)) if max(known) > 0 else (0.0, 1.0)
    top = 1.0 if share else ticks[-1]
    series = [
        Series(
            name=name,
            path=line([None if value is None else value / top for value in row]),
            colour=colour,
            style="line",
        )
        for (name, row), colour in zip(values.items(), cycle(("blue", "amber", "teal")), strict=False)
    ]
    if measured in history.epochs:
        path = whisker(history.epochs.index(measured), 0, 1)
        series.append(Series(name="measured", path=path, colour="grey", style="guide"))
    labels = []
    for i, epoch in enumerate(history.epochs):
        texts = [f"{name} {_value(row[i], share)}" for name, row in values.items()]
        labels.append(f"epoch {epoch}{' (measured)' if epoch == measured else ''}: {', '.join(texts)}")
    few = len(history.epochs) <= MAX_NAMED_COLUMNS
    ends = (f"epoch {history.epochs[0]}", f"epoch {history.epochs[-1]}")
    return Chart(
        title=title,
        unit="an epoch",
        series=tuple(series),
        labels=tuple(labels),
        ticks=SHARE_TICKS if share else tick_texts(ticks),
        axis=tuple(map(str, history.epochs)) if few else ends,
    )


def _value(value: float | None, share: bool) -> str:
    return "unknown" if value is None else _percent(value) if share else f"{value:.4g}"


def _probes(unchanged: Accuracies, probes: Mapping[str, Accuracies], num_glosses: int) -> Chart | None:
    """Top-1 over instances of clips as they are and as each probe changes them. None without probes."""
    if not probes:
        return None
    estimates = {name: row[1]["instances"] for name, row in {UNCHANGED: unchanged, **probes}.items()}
    bars, whiskers, labels = "", "", []
    for x, (name, one) in enumerate(estimates.items()):
        bars += bar(x, 0, one.value, columns=len(estimates))
        label = f"{name}: {_percent(one.value)}"
        if one.interval is not None:
            whiskers += whisker(x, *one.interval)
            label += f" (95 %: {_percent(one.interval[0])} to {_percent(one.interval[1])})"
        labels.append(label)
    chance = level(0, 1 / num_glosses, columns=len(estimates))
    return Chart(
        title="Top-1 over instances of clips as they are and changed",
        series=(
            Series(name="top-1", path=bars, colour="blue"),
            Series(name="95 % for other clips", path=whiskers, colour="grey", style="whiskers"),
            Series(name=f"guessing: {_percent(1 / num_glosses)}", path=chance, colour="grey", style="guide"),
        ),
        labels=tuple(labels),
        ticks=SHARE_TICKS,
        axis=tuple(estimates),
    )


def _classes(classes: Sequence[ClassResult]) -> Chart:
    """Recall of each gloss with its interval, the highest first."""
    ranked = sorted(classes, key=lambda one: (-one.correct / one.clips, -one.clips, one.gloss))
    columns = len(ranked)
    wide = columns <= MAX_WIDE_COLUMNS
    recalls, intervals, labels = "", "", []
    for x, one in enumerate(ranked):
        recall = one.correct / one.clips
        if wide:
            recalls += bar(x, 0, recall, columns=columns)
            intervals += whisker(x, *one.interval)
        else:
            recalls += level(x, recall)
            intervals += bar(x, *one.interval, columns=columns)
        low, high = map(_percent, one.interval)
        labels.append(
            f"{isolated(one.gloss)}: {one.correct} of {one.clips}, {_percent(recall)} (95 %: {low} to {high})"
        )
    names = [isolated(one.gloss) for one in ranked]
    return Chart(
        title="Recall of each gloss",
        unit="a gloss",
        series=(
            Series(name="recall", path=recalls, colour="blue", style="bars" if wide else "line"),
            Series(
                name="95 % for other clips",
                path=intervals,
                colour="blue",
                style="whiskers" if wide else "band",
            ),
        ),
        labels=tuple(labels),
        ticks=SHARE_TICKS,
        axis=tuple(names if len(names) <= MAX_NAMED_COLUMNS else (names[0], names[-1])),
    )


def _calibration(calibration: Calibration) -> dict[str, Chart | None]:
    """The reliability diagram, and the number of clips in each of its bins."""
    bins = calibration.bins
    ticks = round_ticks(max(one.clips for one in bins), least_step=1)
    accuracies, confidences, clips, labels = "", "", "", []
    for x, one in enumerate(bins):
        label = f"confidence {_percent(one.low)} to {_percent(one.high)}: {one.clips} clips"
        if one.accuracy is not None and one.confidence is not None:
            accuracies += bar(x, 0, one.accuracy, columns=len(bins))
            confidences += level(x, one.confidence)
            clips += bar(x, 0, one.clips / ticks[-1], columns=len(bins))
            label += f", {_percent(one.accuracy)} right, mean confidence {_percent(one.confidence)}"
        labels.append(label)
    axis = ("0 %", "50 %", "100 %")
    return {
        "reliability": Chart(
            title="Right clips by confidence",
            series=(
                Series(name="right", path=accuracies, colour="blue"),
                Series(name="mean confidence", path=confidences, colour="amber", style="line"),
            ),
            labels=tuple(labels),
            ticks=SHARE_TICKS,
            axis=axis,
        ),
        "confidences": Chart(
            title="Clips by confidence",
            series=(Series(name="clips", path=clips, colour="blue"),),
            labels=tuple(labels),
            ticks=tick_texts(ticks),
            axis=axis,
        ),
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
