"""Histograms as SVG paths: one path a series, however many bars, so that 2,000 classes stay small."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from asl.contract.manifest import SPLITS, Clip

#: Height of a chart in its own units; a bar is 1 unit wide.
HEIGHT = 100

_GAP = 0.12  # between bars, in units
_GAPS_UP_TO = 150  # bars; more are thinner than a few pixels
_MOST_BINS = 40
_BIN_WIDTHS_S = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Stacked bars."""

    title: str
    paths: dict[str, str]  # series to SVG path data
    labels: tuple[str, ...]  # what to say of each bar
    ticks: tuple[int, ...]  # of the upright axis, from 0 to the chart's top
    axis: tuple[str, ...]  # words under the chart, from left to right

    @property
    def bars(self) -> int:
        return len(self.labels)


def class_chart(clips: Sequence[Clip], glosses: Sequence[str]) -> Chart | None:
    """Clips a class, the largest class first; None where there is nothing to draw."""
    if not clips:
        return None
    count = Counter((clip.gloss, clip.split) for clip in clips)
    total = Counter(clip.gloss for clip in clips)
    ranked = sorted(glosses, key=lambda gloss: (-total[gloss], gloss))
    stacks = [{split: count[gloss, split] for split in SPLITS} for gloss in ranked]
    parts = [", ".join(f"{n} {split}" for split, n in stack.items()) for stack in stacks]
    ends = ranked[:1] if len(ranked) == 1 else [ranked[0], ranked[-1]]
    return _chart(
        "Clips a class",
        stacks,
        [f"{gloss}: {total[gloss]} clips ({part})" for gloss, part in zip(ranked, parts, strict=True)],
        tuple(f"{gloss} ({total[gloss]})" for gloss in ends),
    )


def duration_chart(clips: Sequence[Clip]) -> Chart | None:
    """Clips by duration, in bins of a round width; None where there is nothing to draw."""
    if not clips:
        return None
    longest = max(clip.duration_s for clip in clips)
    width_s = next((w for w in _BIN_WIDTHS_S if longest / w < _MOST_BINS), longest / (_MOST_BINS - 1))
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
    title: str, stacks: Sequence[dict[str, int]], labels: Sequence[str], axis: tuple[str, ...]
) -> Chart:
    ticks = _ticks(max(sum(stack.values()) for stack in stacks))
    paths = dict.fromkeys(SPLITS, "")
    gap = _GAP if len(stacks) <= _GAPS_UP_TO else 0
    for x, stack in enumerate(stacks):
        bottom = 0
        for split, count in stack.items():
            if count:
                low, high = (HEIGHT * (1 - n / ticks[-1]) for n in (bottom, bottom + count))
                paths[split] += f"M{x + gap / 2:g} {low:.4g}h{1 - gap:g}V{high:.4g}h{gap - 1:g}z"
                bottom += count
    return Chart(title=title, paths=paths, labels=tuple(labels), ticks=ticks, axis=axis)


def _ticks(most: int) -> tuple[int, ...]:
    """Round numbers from 0 to at least ``most``.

    >>> _ticks(47), _ticks(1), _ticks(0)
    ((0, 20, 40, 60), (0, 1), (0, 1))
    """
    least_step = max(most / 4, 1)
    power = 10 ** math.floor(math.log10(least_step))
    step = next(int(n * power) for n in (1, 2, 5, 10) if n * power >= least_step)
    return tuple(range(0, max(most, 1) + step, step))[: math.ceil(max(most, 1) / step) + 1]
