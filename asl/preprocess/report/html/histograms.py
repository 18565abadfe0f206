"""Histograms of clips, stacked by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from asl.contract.manifest import SPLITS, Clip
from asl.page.charts import Chart, Series, bar, isolated, round_ticks, tick_texts
from asl.preprocess.audit.statistics import Coverage

_MAX_BINS = 40
_BIN_WIDTHS_S = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


def class_histogram(by_class: Mapping[str, Coverage]) -> Chart | None:
    """Clips per class, in the order of ``by_class``. None if there are no clips."""
    if not any(coverage.clips for coverage in by_class.values()):
        return None
    labels = []
    for gloss, coverage in by_class.items():
        parts = ", ".join(f"{clips} {split}" for split, clips in coverage.clips_in.items())
        labels.append(f"{isolated(gloss)}: {coverage.clips} clips ({parts})")
    glosses = list(by_class)
    ends = glosses if len(glosses) == 1 else [glosses[0], glosses[-1]]
    axis = tuple(f"{isolated(gloss)} ({by_class[gloss].clips})" for gloss in ends)
    return _histogram("Clips per class", [coverage.clips_in for coverage in by_class.values()], labels, axis)


def duration_histogram(clips: Sequence[Clip]) -> Chart | None:
    """Clips by duration, in bins of a round width. None if there are no clips."""
    if not clips:
        return None
    longest = max(clip.duration_s for clip in clips)
    width_s = next((w for w in _BIN_WIDTHS_S if longest / w < _MAX_BINS), longest / (_MAX_BINS - 1))
    bin_of = [int(clip.duration_s / width_s) for clip in clips]
    first, last = min(bin_of), max(bin_of)
    count = Counter(zip(bin_of, (clip.split for clip in clips), strict=True))
    stacks = [{split: count[i, split] for split in SPLITS} for i in range(first, last + 1)]
    labels = [
        f"{i * width_s:g} to {(i + 1) * width_s:g} s: {sum(stack.values())} clips"
        for i, stack in enumerate(stacks, start=first)
    ]
    middle = (first + last + 1) / 2 * width_s
    axis = (f"{first * width_s:g} s", f"{middle:g} s", f"{(last + 1) * width_s:g} s")
    return _histogram("Clips by duration", stacks, labels, axis)


def _histogram(
    title: str, stacks: Sequence[Mapping[str, int]], labels: Sequence[str], axis: tuple[str, ...]
) -> Chart:
    ticks = round_ticks(max(sum(stack.values()) for stack in stacks), least_step=1)
    paths = dict.fromkeys(SPLITS, "")
    for x, stack in enumerate(stacks):
        bottom = 0
        for split, count in stack.items():
            if count:
                low, high = bottom / ticks[-1], (bottom + count) / ticks[-1]
                paths[split] += bar(x, low, high, columns=len(stacks))
                bottom += count
    return Chart(
        title=title,
        series=tuple(Series(name=split, path=path, colour=split) for split, path in paths.items()),
        labels=tuple(labels),
        ticks=tick_texts(ticks),
        axis=axis,
    )
