"""WLASL (Li et al., WACV 2020): its metadata, flat or nested.

The metadata is untrusted input: a row whose names could lead out of the output folder, or whose numbers
are impossible, is refused and reported; the other rows are used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from asl.config.setting import setting
from asl.contract.manifest import SPLITS
from asl.datasets.base import SignDataset
from asl.datasets.instance import Box, Instance, Metadata, MetadataError, Refused
from asl.datasets.names import name_problem, text_problem
from asl.datasets.reading import conflict_error, read_json, without_conflicts
from asl.datasets.wlasl_lengths import find_lengths, load_lengths

#: Heights of WLASL's original pictures. Their lower edge cuts the signer off: of the 13,168 boxes of the
#: first 1,000 glosses, 96 % end at one of these, and all but three less than 7 % above one.
_HEIGHTS = (180, 192, 240, 360, 370, 400, 414, 480, 540, 720, 1080)


@dataclass(kw_only=True)
class Wlasl(SignDataset):
    """WLASL's metadata files, and how many of its glosses are used."""

    metadata: str = setting("???", "the JSON file: WLASL_v0.3.json (nested), or a flat list of rows")
    num_glosses: int | None = setting(None, "keep the first N glosses of the metadata; null: all", ge=1)
    fps: float = setting(25.0, "frame rate in which the metadata counts frames", gt=0)
    lengths: str | None = setting(
        "auto",
        "the authors' nslt_*.json, whose lengths help to tell whose a raw file is; auto: "
        "nslt_{num_glosses}.json beside the metadata if it is there; null: do without",
    )

    MOVED_KEYS: ClassVar[dict[str, str]] = {
        key: f"Splits are made when the manifest is read: python train.py data.{key}=..."
        for key in ("split", "folds", "fold")
    }

    def load(self) -> Metadata:
        """Read the metadata and, if there are any, the published lengths.

        Raises:
            MetadataError: a file is missing or cannot be used.
        """
        path = Path(self.metadata)
        metadata = load_metadata(path, num_glosses=self.num_glosses, fps=self.fps, how_to_get=self.how_to_get)
        lengths = find_lengths(self.lengths, path, self.num_glosses)
        published_frames = {} if lengths is None else load_lengths(lengths)
        return dataclasses.replace(metadata, published_frames=published_frames)


def segment_span(frame_start: int, frame_end: int, fps: float) -> tuple[Fraction, Fraction | None]:
    """The half-open span ``[start_s, end_s)`` of a segment in seconds; ``end_s`` is None for "to the end".

    Frames are counted from 1 at ``fps``, whatever the file's own rate, and ``frame_end`` is inclusive.
    Read like this, the 72 segments that WLASL takes from one source of 4,232 frames tile 1 to 4232; a
    duration of ``(frame_end - frame_start) / fps`` would lose the last frame of each.

    Args:
        frame_start: from 1.
        frame_end: inclusive; -1: to the end.
        fps: rate at which frames are counted. Rounded decimals of broadcast rates become exact.

    Raises:
        ValueError: ``frame_start`` is below 1, or ``frame_end`` before it.

    >>> segment_span(1, -1, 25)
    (Fraction(0, 1), None)
    >>> segment_span(26, 50, 25)  # frames 26, 27, ... 50: the second second
    (Fraction(1, 1), Fraction(2, 1))
    """
    if frame_start < 1 or (frame_end != -1 and frame_end < frame_start):
        raise ValueError(f"no such segment: frame_start={frame_start}, frame_end={frame_end}")
    rate = Fraction(fps).limit_denominator(1001)  # 25.0, and 29.97… as 30000/1001
    start_s = (frame_start - 1) / rate
    return start_s, None if frame_end == -1 else frame_end / rate


def load_metadata(
    path: Path, *, num_glosses: int | None = None, fps: float = 25.0, how_to_get: str = ""
) -> Metadata:
    """Read a flat list of rows, or the nested original (a list of ``{gloss, instances}``).

    Args:
        path: the JSON file.
        num_glosses: keep the first N glosses; WLASL100 is the first 100 of WLASL2000. None: all.
        fps: rate at which frames are counted; a row with another ``fps`` is refused.
        how_to_get: appended to the message if the file is missing.

    Raises:
        MetadataError: the file is missing, not a JSON list, or has fewer than ``num_glosses`` glosses.
    """
    rows = list(_rows(read_json(path, key="dataset.metadata", how_to_get=how_to_get), path))
    glosses = tuple(dict.fromkeys(row["gloss"] for _, row in rows if text_problem(row.get("gloss")) is None))
    if num_glosses is not None and len(glosses) < num_glosses:
        raise MetadataError(
            f"{path} has {len(glosses)} glosses, fewer than dataset.num_glosses={num_glosses}. All of them: "
            "dataset.num_glosses=null"
        )
    left_out = set(glosses[num_glosses:]) if num_glosses is not None else set()

    instances: list[Instance] = []
    refused: list[Refused] = []
    where_of: dict[str, list[str]] = {}
    for where, row in rows:
        problem = _row_problem(row, fps)
        if problem is None:
            instance = _instance(row, fps)
            where_of.setdefault(instance.video_id, []).append(where)
            instances.append(instance)
        elif not (isinstance(row.get("gloss"), str) and row["gloss"] in left_out):
            refused.append(Refused(str(row.get("video_id", "")), f"{where}: {problem}"))

    # Over all rows: a file that bears the id may be the video of either.
    sound, conflicting = without_conflicts(instances)
    kept_ids = {instance.video_id for instance in instances if instance.gloss not in left_out}
    refused += [
        Refused(video_id, conflict_error(where_of[video_id], video_id))
        for video_id in conflicting
        if video_id in kept_ids
    ]
    kept = dict.fromkeys(instance for instance in sound if instance.gloss not in left_out)
    return Metadata(
        instances=tuple(kept),
        glosses=glosses[:num_glosses],
        refused=tuple(refused),
        others=tuple(instance for instance in dict.fromkeys(instances) if instance not in kept),
        fps=fps,
    )


def _rows(content: Any, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """``(where, row)`` for each instance; ``where`` describes the row's position in the file."""
    if not isinstance(content, list) or not content:
        raise MetadataError(f"{path}: not a list of rows (flat) or of {{gloss, instances}} (nested)")
    for i, entry in enumerate(content, start=1):
        if not isinstance(entry, dict):
            raise MetadataError(f"{path}: entry {i} is not an object but {type(entry).__name__}")
        if "instances" not in entry:
            yield f"row {i}", entry
            continue
        if not isinstance(entry["instances"], list):
            raise MetadataError(f"{path}: entry {i}: instances is not a list")
        for k, row in enumerate(entry["instances"], start=1):
            if not isinstance(row, dict):
                raise MetadataError(f"{path}: entry {i}, instance {k} is not an object")
            yield f"entry {i}, instance {k}", {**row, "gloss": entry.get("gloss")}


def _row_problem(row: dict[str, Any], fps: float) -> str | None:
    """Why a row cannot be used. None if it can."""
    for key, problem_with in (("gloss", text_problem), ("split", text_problem), ("video_id", name_problem)):
        problem = problem_with(row.get(key))
        if problem:
            return f"{key}={row.get(key)!r} {problem}"
    if row["split"] not in SPLITS:
        return f"split={row['split']!r} is not one of {', '.join(SPLITS)}"
    if not isinstance(row.get("url"), str):
        return f"url={row.get('url')!r} is not a text"
    start: Any = row.get("frame_start")
    end: Any = row.get("frame_end")
    if not _is_int(start) or start < 1:
        return f"frame_start={start!r} is not a whole number from 1"
    if not _is_int(end) or (end != -1 and end < start):
        return f"frame_end={end!r} is neither -1 nor a whole number from frame_start={start}"
    if row.get("fps", fps) != fps:
        return f"fps={row['fps']!r} is not dataset.fps={fps:g}"
    bbox = row.get("bbox")
    if bbox is not None and not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_int, bbox))):
        return f"bbox={bbox!r} is not four whole numbers"
    if not _is_int(row.get("signer_id", -1)):
        return f"signer_id={row['signer_id']!r} is not a whole number"
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _instance(row: dict[str, Any], fps: float) -> Instance:
    start_s, end_s = segment_span(row["frame_start"], row["frame_end"], fps)
    return Instance(
        video_id=row["video_id"],
        gloss=row["gloss"],
        split=row["split"],
        url=row["url"],
        site=str(row.get("source", "")),
        start_s=start_s,
        end_s=end_s,
        box=_box(*row["bbox"]) if row.get("bbox") is not None else None,
        signer_id=str(row["signer_id"]) if row.get("signer_id", -1) >= 0 else "",
    )


def _box(left: int, top: int, right: int, bottom: int) -> Box:
    """A box in pixels of the original, of which the metadata does not give the size."""
    height = next((height for height in _HEIGHTS if 0.93 * height < bottom <= height), None)
    return Box(left, top, right, bottom, height=height)
