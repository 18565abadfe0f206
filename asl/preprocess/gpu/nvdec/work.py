"""What a GPU is given to do: which clips, which of them together, and in which order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from asl.preprocess.clips.plan import Cut
from asl.preprocess.gpu.decodable import unsupported_reason
from asl.preprocess.sources.raw_files import USUAL

#: A whole clip, or segments of one source in turn.
Unit = tuple[Cut, ...]

#: Segments of one source that a thread makes in one pass, see :mod:`asl.preprocess.gpu.nvdec.segments`.
_SEGMENTS = 4

#: Pixels in a task, because of its time limit: a minute of 1080p, which an H100 decodes in 0.6 s.
_MOST_WORK = 4e9

#: Bytes of a source: its packets are in memory more than once while a clip is made. The host reads in parts.
_MOST_SOURCE_BYTES = 200 << 20


def why_unsupported(cut: Cut) -> str | None:
    """Why a clip is none for the GPU. None if it may be one."""
    if cut.raw is None:
        return "unreadable header"
    if cut.raw.codec != "h264":
        return f"codec {cut.raw.codec}"
    if cut.raw.pix_fmt == "yuvj420p":
        return "full-range colours"
    try:
        if cut.source.stat().st_size > _MOST_SOURCE_BYTES:
            return "large source"
    except OSError:  # the host says what is wrong with it
        return "unreadable source"
    return unsupported_reason(cut.raw)


def in_order(cuts: Sequence[Cut]) -> list[Unit]:
    """What one thread makes at a time, in the order in which to begin.

    Large pictures keep NVDEC busy, small ones the cores, and segments the encoder: all kinds are mixed, so
    that none waits for another. The clips with the least work come last, so that all processes end together.
    """
    of_source: dict[Path, list[Cut]] = {}
    for cut in cuts:
        if not cut.is_whole:
            of_source.setdefault(cut.source, []).append(cut)
    units: list[Unit] = [(cut,) for cut in cuts if cut.is_whole]
    for members in of_source.values():
        members.sort(key=lambda cut: (cut.start_s, cut.video_id))
        units += [tuple(members[i : i + _SEGMENTS]) for i in range(0, len(members), _SEGMENTS)]
    units.sort(key=lambda unit: (work_of(unit), unit[0].video_id))
    last = len(units) // 10
    mixed = units[last:]
    random.Random(0).shuffle(mixed)
    return mixed + units[:last][::-1]


def next_units(queue: deque[Unit], most: int) -> list[Unit]:
    """Take up to ``most`` units from the queue, fewer if they are long; at least one."""
    units = [queue.popleft()]
    work = work_of(units[0])
    while queue and len(units) < most and work + work_of(queue[0]) <= _MOST_WORK:
        work += work_of(queue[0])
        units.append(queue.popleft())
    return units


def work_of(unit: Unit) -> float:
    """Pixels to decode, and those to encode, which take longer."""
    raw = unit[0].raw or USUAL
    frames = sum(cut.estimated_length()[1] for cut in unit)
    return raw.width * raw.height * frames * (1 if unit[0].is_whole else 4)
