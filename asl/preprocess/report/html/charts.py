"""Stacked histograms as SVG paths, one path per split, so that a chart of 2,000 classes stays small."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asl.contract.manifest import SPLITS, Clip
from asl.preprocess.audit.statistics import Coverage

#: Height of a chart in SVG units; a bar is 1 unit wide.
HEIGHT = 100

_GAP = 0.12  # between bars, in units
_MAX_BARS_WITH_GAPS = 150  # bars of wider charts are only a few pixels wide
_MAX_BINS = 40
_BIN_WIDTHS_S = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Stacked bars."""

    title: str
    paths: dict[str, str]  # SVG path data by split
    labels: tuple[str, ...]  # text of each bar
    ticks: tuple[int, ...]  # of the vertical axis, from 0 to the chart's top
    axis: tuple[str, ...]  # texts below the chart, from left to right

    @property
    def bars(self) -> int:
        """The number of bars."""
        return len(self.labels)


def class_chart(by_class: Mapping[str, Coverage]) -> Chart | None:
    """Clips per class, in the order of ``by_class``. None if there are no clips."""
    if not any(coverage.clips for coverage in by_class.values()):
        return None
    labels = []
    for gloss, coverage in by_class.items():
        parts = ", ".join(f"{clips} {split}" for split, clips in coverage.clips_in.items())
        labels.append(f"{gloss}: {coverage.clips} clips ({parts})")
    glosses = list(by_class)
    ends = glosses if len(glosses) == 1 else [glosses[0], glosses[-1]]
    axis = tuple(f"{gloss} ({by_class[gloss].clips})" for gloss in ends)
    return _chart("Clips per class", [coverage.clips_in for coverage in by_class.values()], labels, axis)


def duration_chart(clips: Sequence[Clip]) -> Chart | None:
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
    return _chart("Clips by duration", stacks, labels, axis)


def _chart(
    title: str, stacks: Sequence[Mapping[str, int]], labels: Sequence[str], axis: tuple[str, ...]
) -> Chart:
    ticks = _ticks(max(sum(stack.values()) for stack in stacks))
    paths = dict.fromkeys(SPLITS, "")
    gap = _GAP if len(stacks) <= _MAX_BARS_WITH_GAPS else 0
    for x, stack in enumerate(stacks):
        bottom = 0
        for split, count in stack.items():
            if count:
                low, high = (HEIGHT * (1 - n / ticks[-1]) for n in (bottom, bottom + count))
                paths[split] += f"M{x + gap / 2:g} {low:.4g}h{1 - gap:g}V{high:.4g}h{gap - 1:g}z"
                bottom += count
    return Chart(title=title, paths=paths, labels=tuple(labels), ticks=ticks, axis=axis)


def _ticks(largest: int) -> tuple[int, ...]:
    """Round numbers from 0 to at least ``largest``.

    >>> _ticks(47), _ticks(1), _ticks(0)
    ((0, 20, 40, 60), (0, 1), (0, 1))
    """
    least_step = max(largest / 4, 1)
    power = 10 ** math.floor(math.log10(least_step))
    step = next(int(n * power) for n in (1, 2, 5, 10) if n * power >= least_step)
    return tuple(range(0, max(largest, 1) + step, step))[: math.ceil(max(largest, 1) / step) + 1]
