"""Copies that small pictures propose, confirmed by pictures that are large enough to show a hand.

Both clips are decoded again, as grey pictures on a time grid in seconds. They are compared moment by moment
by what moves: each pixel's difference from its mean over the clip.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from asl.codecs.decoder import decode_file
from asl.contract.manifest import Clip
from asl.preprocess.audit.same_content import DURATION_TOLERANCE_S, LEAST_MOTION, MARGIN
from asl.preprocess.clips import fingerprint
from asl.workers import Done, Workers

SIDE = 64  # pixels, before the margin of the small pictures is cut off
_CUT = MARGIN * SIDE // fingerprint.SIDE

#: Interval of the time grid. A picture is the mean over three intervals: copies at another frame rate show a
#: fast hand up to a frame earlier or later.
STEP_S = 0.04
MAX_PICTURES = 256  # of a clip, 590 KB; longer clips have longer intervals

MOMENTS = 32  # at which two clips are compared
SHIFTS_S = np.linspace(-DURATION_TOLERANCE_S, DURATION_TOLERANCE_S, 11)

#: Least similarity of copies. Measured on the demo's signers, see benchmarks/README.md: copies have 0.9 and
#: more, very bad ones 0.77; other signs that are proposed at most 0.67.
SAME = 0.77

#: The similarity of two clips is that of the least similar moments, which have this share of the movement.
LEAST_SIMILAR_SHARE = 0.15

_Pixels = npt.NDArray[np.float32]  # (T, P)


@dataclass(frozen=True)
class Comparison:
    """A proposed pair of copies after both clips were decoded again."""

    first: str  # video_id
    second: str
    similarity: float | None  # at most 1; None if a clip could not be decoded
    problem: str = ""  # why it could not

    @property
    def confirmed(self) -> bool:
        """Whether the two are copies."""
        return self.similarity is not None and self.similarity >= SAME


@dataclass(frozen=True)
class Film:
    """A clip as grey pictures at equal intervals of its duration."""

    pictures: npt.NDArray[np.uint8]  # (N, side, side)
    duration_s: float

    def at(self, times_s: npt.NDArray[np.float64]) -> _Pixels:
        """``(T, side * side)`` grey levels at some times, interpolated between pictures."""
        last = len(self.pictures) - 1
        position = np.clip(times_s / self.duration_s * len(self.pictures) - 0.5, 0, last)
        before = position.astype(np.int64)
        share = (position - before)[:, None].astype(np.float32)
        pixels = self.pictures.reshape(last + 1, -1)
        return pixels[before] * (1 - share) + pixels[np.minimum(before + 1, last)] * share


def compare_proposals(
    proposals: Sequence[tuple[str, str]],
    *,
    clips: Iterable[Clip],
    digests: Mapping[str, str],
    data_dir: Path,
    workers: Workers,
    progress: Progress,
    timeout_s: float,
) -> list[Comparison]:
    """Compare the clips of proposed pairs, decoded again. Each is decoded once, and of equal files only one.

    Args:
        proposals: video_ids of pairs of about the same duration.
        clips: rows of the manifest.
        digests: of the clips' files, by video_id.
        data_dir: folder that the clips' paths are relative to.
        workers: processes that decode.
        progress: shows a bar.
        timeout_s: time limit for each clip.

    Returns:
        One for each proposal, in their order. That of equal files has a similarity of 1.
    """
    clip_of = {clip.video_id: clip for clip in clips}
    decoded_for: dict[str, str] = {}  # by digest, the clip that is decoded for all with this digest
    for video_id in sorted({video_id for pair in proposals for video_id in pair}):
        decoded_for.setdefault(digests[video_id], video_id)
    to_compare = [(decoded_for[digests[first]], decoded_for[digests[second]]) for first, second in proposals]
    partners: dict[str, set[str]] = defaultdict(set)  # not yet compared
    for first, second in to_compare:
        if first != second:
            partners[first].add(second)
            partners[second].add(first)
    # Partners are about equally long: in this order, few films are in memory at a time.
    decoded = sorted((clip_of[name] for name in partners), key=lambda clip: (clip.duration_s, clip.video_id))
    tasks = ((data_dir / clip.path, clip) for clip in decoded)
    bar = progress.add_task("confirming copies", total=len(partners), visible=bool(partners))
    films: dict[str, Film | str] = {}  # a text says why there is none
    compared: dict[frozenset[str], tuple[float | None, str]] = {}
    for ended in workers.run_lazily(read_film, tasks, ahead=2 * workers.count, timeout_s=timeout_s):
        _, clip = ended.task
        films[clip.video_id] = (
            ended.result if isinstance(ended, Done) else f"{clip.path} cannot be compared: {ended.message}"
        )
        for other in partners[clip.video_id] & films.keys():
            first, second = sorted((clip.video_id, other))
            compared[frozenset((first, second))] = _compare(films[first], films[second])
            partners[first].remove(second)
            partners[second].remove(first)
            for name in (first, second):
                if not partners[name]:
                    del films[name]
        progress.advance(bar)
    return [
        Comparison(*proposal, *((1.0, "") if first == second else compared[frozenset((first, second))]))
        for proposal, (first, second) in zip(proposals, to_compare, strict=True)
    ]


def read_film(task: tuple[Path, Clip]) -> Film:
    """Decode a clip's file to a film. Run it in a worker: decoding may hang or crash.

    Raises:
        VideoError: a frame cannot be decoded.
    """
    path, clip = task
    decoded = decode_file(path, thumbnail_frames=range(clip.num_frames), thumbnail_side=SIDE)
    starts_s = np.array([float(time_s) for time_s in decoded.timeline.times])
    inner = decoded.thumbnails[:, _CUT:-_CUT, _CUT:-_CUT]
    return make_film(inner, starts_s, float(decoded.timeline.duration))


def make_film(frames: npt.NDArray[np.uint8], starts_s: npt.NDArray[np.float64], duration_s: float) -> Film:
    """The film of a clip: pictures are means of its frames, weighted by how long each is displayed.

    Args:
        frames: ``(F, side, side)``.
        starts_s: ``(F,)`` time stamps from 0, rising.
        duration_s: of the clip.
    """
    ends_s = np.append(starts_s[1:], duration_s)
    count = min(math.ceil(duration_s / STEP_S), MAX_PICTURES)
    step_s = duration_s / count
    pictures = np.empty((count, *frames.shape[1:]), np.uint8)
    for i in range(count):
        displayed_s = np.minimum(ends_s, (i + 2) * step_s) - np.maximum(starts_s, (i - 1) * step_s)
        inside = displayed_s > 0
        pictures[i] = np.average(frames[inside], axis=0, weights=displayed_s[inside]).round()
    return Film(pictures, duration_s)


def similarity(one: Film, other: Film) -> float:
    """How alike two films of about the same duration are at the moments that differ most, at most 1.

    The films are shifted against each other by up to ``DURATION_TOLERANCE_S``; the best shift counts. A film
    without movement is like no other: 0.
    """
    duration_s = min(one.duration_s, other.duration_s)
    edge_s = min(DURATION_TOLERANCE_S / 2, duration_s / 4)
    times_s = np.linspace(edge_s, duration_s - edge_s, MOMENTS)
    best = max(
        _similarity(_movement(one.at(times_s - shift_s / 2)), _movement(other.at(times_s + shift_s / 2)))
        for shift_s in SHIFTS_S
    )
    return round(best, 3)


def _movement(pixels: _Pixels) -> _Pixels:
    """Differences of ``(T, P)`` pixels from their means over time, scaled to a standard deviation of 1.

    0 if they are noise.
    """
    moved = pixels - pixels.mean(axis=0)
    deviation = moved.std()
    return np.zeros_like(moved) if deviation < LEAST_MOTION else moved / deviation


def _similarity(one: _Pixels, other: _Pixels) -> float:
    """The similarity that the least similar ``LEAST_SIMILAR_SHARE`` of the movement reaches at most."""
    squares = one**2 + other**2
    weights = np.sqrt(squares.mean(axis=0))  # (P,): where nothing moves, there is noise only
    movement = (weights * squares).sum(axis=1)  # (T,)
    both = 2 * (weights * one * other).sum(axis=1)
    similar = np.divide(both, movement, out=np.zeros_like(both), where=movement > 0)
    order = np.argsort(similar, kind="stable")
    passed = np.cumsum(movement[order]) >= LEAST_SIMILAR_SHARE * movement.sum()
    return float(similar[order][passed.argmax()])


def _compare(one: Film | str, other: Film | str) -> tuple[float | None, str]:
    """``similarity`` and ``problem`` of a :class:`Comparison`."""
    if isinstance(one, Film) and isinstance(other, Film):
        return similarity(one, other), ""
    return None, "; ".join(film for film in (one, other) if isinstance(film, str))
