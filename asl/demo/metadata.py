"""The demo's metadata in the formats of WLASL, and the expected results of preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from asl.demo.glosses import GLOSSES
from asl.demo.plan import FPS, Row
from asl.demo.raw_files import RawFile


@dataclass(frozen=True)
class Instance:
    """A row of ``demo.json``, with the keys of WLASL in the same order."""

    gloss: str
    bbox: tuple[int, ...]
    fps: int
    frame_end: int
    frame_start: int
    instance_id: int  # counts within a gloss
    signer_id: int
    source: str
    split: str
    url: str
    variation_id: int
    video_id: str


def flat(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The format of ``WLASL100_flat.json``: a list of instances, sorted by gloss."""
    instances = []
    for gloss in GLOSSES:
        for number, row in enumerate(row for row in rows if row.gloss == gloss):
            instances.append(
                Instance(
                    gloss=gloss.name,
                    bbox=row.bbox,
                    fps=FPS,
                    frame_end=row.frame_end,
                    frame_start=row.frame_start,
                    instance_id=number,
                    signer_id=row.signer_id,
                    source=row.site,
                    split=row.split,
                    url=row.url,
                    variation_id=0,
                    video_id=row.video_id,
                )
            )
    return [asdict(instance) for instance in instances]


def nested(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The format of ``WLASL_v0.3.json``: a list of glosses, each with its instances."""
    by_gloss: dict[str, list[dict[str, Any]]] = {gloss.name: [] for gloss in GLOSSES}
    for instance in flat(rows):
        by_gloss[instance.pop("gloss")].append(instance)
    return [{"gloss": gloss, "instances": instances} for gloss, instances in by_gloss.items()]


def lengths(rows: Sequence[Row], seed: int) -> dict[str, dict[str, Any]]:
    """The format of ``nslt_100.json``: split, and ``action: [class, first frame, last frame]``.

    For a whole clip the last frame is its length at 25 fps plus 0 to 3 frames, as in WLASL.
    """
    rng = np.random.default_rng([seed, 5])
    published = {}
    for row in rows:
        # No extra frames for rivals for one file, whose lengths must not differ. Draw them nevertheless,
        # to keep the order of random numbers.
        extra = rng.uniform(0, 2.4) if row.outcome != "ambiguous" else 0.0
        last = row.frame_end if row.frame_end != -1 else round(FPS * row.duration_s + extra)
        published[row.video_id] = {
            "subset": row.split,
            "action": [GLOSSES.index(row.gloss), row.frame_start, last],
        }
    return published


def truth(
    rows: Sequence[Row], files: Mapping[str, RawFile], times: Mapping[str, Sequence[Fraction]]
) -> dict[str, Any]:
    """The results that preprocessing should have.

    Args:
        rows: all instances.
        files: the raw files by path.
        times: time stamps of their frames by path, in seconds from the first frame, as stored.

    Returns:
        ``instances``: by video_id ``outcome`` (clip, missing, ambiguous, damaged, past_end), ``raw``
        (its file, relative to the raw folder), ``note``, and for a clip ``first_frame``,
        ``last_frame`` (of the file, from 0, inclusive, as :func:`read_frame_number` returns them),
        ``num_frames``, ``width``, ``height`` (of the source, upright, before it is cropped to an even size)
        and ``can_be_copied`` (it needs no encoding).
        ``raw_files``: by path ``num_frames``, ``damage`` and the fields of
        :class:`~asl.demo.raw_files.Format`.
    """
    instances: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry: dict[str, Any] = {"outcome": row.outcome, "raw": row.raw, "note": row.note}
        if row.outcome == "clip" and row.raw is not None:
            file = files[row.raw]
            frames = frames_of(row.frame_start, row.frame_end, times[row.raw])
            width, height = file.format.size
            entry |= {
                "first_frame": frames.start,
                "last_frame": frames.stop - 1,
                "num_frames": len(frames),
                "width": width,
                "height": height,
                "can_be_copied": file.format.can_be_copied and (row.frame_start, row.frame_end) == (1, -1),
            }
        instances[row.video_id] = entry
    raw_files = {
        path: {
            "num_frames": len(times.get(path, ())),  # 0 if damaged
            **asdict(file.format),
            "fps": None if file.format.fps is None else str(file.format.fps),
            "damage": file.damage,
        }
        for path, file in sorted(files.items())
    }
    return {"instances": instances, "raw_files": raw_files}


def frames_of(frame_start: int, frame_end: int, times: Sequence[Fraction]) -> range:
    """The range of frames whose time stamps lie in ``[(frame_start - 1) / 25, frame_end / 25)`` seconds."""
    start_s = Fraction(frame_start - 1, FPS)
    end_s = Fraction(frame_end, FPS) if frame_end != -1 else None
    inside = [i for i, time in enumerate(times) if time >= start_s and (end_s is None or time < end_s)]
    return range(inside[0], inside[-1] + 1)
