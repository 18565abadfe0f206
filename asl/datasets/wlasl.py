"""WLASL JSON, flat or nested, to :class:`Instance`; and the label map.

The metadata is untrusted input: a row whose names could leave the output folder, or whose numbers
make no sense, is refused and reported, and the other rows go on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asl.contract.manifest import SPLITS
from asl.errors import UserError
from asl.files import atomic_write_text
from asl.messages import first_few


class MetadataError(UserError):
    """A metadata file or a label map that cannot be used at all."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One signed gloss of the data set, as the metadata describes it."""

    video_id: str
    gloss: str
    split: str  # train, val or test
    url: str
    site: str  # WLASL's "source": the site that it comes from
    frame_start: int  # counted at the data set's fps, from 1
    frame_end: int  # inclusive; -1: to the end of the file
    bbox: tuple[int, int, int, int] | None  # left, top, right, bottom in pixels of the original
    signer_id: int  # -1: unknown

    @property
    def is_whole(self) -> bool:
        """The instance is its whole file, not a segment of it."""
        return self.frame_start == 1 and self.frame_end == -1


@dataclass(frozen=True)
class Refused:
    """A row that is not used, and why."""

    video_id: str  # as far as the row has one
    error: str  # names the row


@dataclass(frozen=True)
class Metadata:
    """What a metadata file says."""

    instances: tuple[Instance, ...]
    glosses: tuple[str, ...]  # in the metadata's own order
    refused: tuple[Refused, ...]
    others: tuple[Instance, ...] = ()  # of glosses that are left out: a raw file may still be theirs


def load_metadata(
    path: Path, *, num_glosses: int | None = None, fps: float = 25.0, how_to_get: str = ""
) -> Metadata:
    """Read the flat list of rows, or the nested original (a list of ``{gloss, instances}``).

    Args:
        path: the JSON file.
        num_glosses: keep the first N glosses only; WLASL100 is the first 100 of WLASL2000.
        fps: the rate in which frames are counted; a row that says another is refused.
        how_to_get: added to the message when there is no such file.

    Raises:
        MetadataError: no file, no JSON list, or fewer glosses than asked for.
    """
    rows = list(_rows(_load_json(path, how_to_get), path))
    glosses = tuple(dict.fromkeys(row["gloss"] for _, row in rows if _name_problem(row.get("gloss")) is None))
    if num_glosses is not None and len(glosses) < num_glosses:
        raise MetadataError(
            f"{path} has {len(glosses)} glosses, fewer than dataset.num_glosses={num_glosses}"
        )
    left_out = set(glosses[num_glosses:]) if num_glosses is not None else set()

    instances: list[Instance] = []
    others: list[Instance] = []
    refused: list[Refused] = []
    where_of: dict[str, list[str]] = {}
    for where, row in rows:
        problem = _row_problem(row, fps)
        if isinstance(row.get("gloss"), str) and row["gloss"] in left_out:
            if problem is None:
                others.append(_instance(row))
            continue
        if problem:
            refused.append(Refused(str(row.get("video_id", "")), f"{where}: {problem}"))
            continue
        instance = _instance(row)
        where_of.setdefault(instance.video_id, []).append(where)
        instances.append(instance)

    kept, twice = _without_conflicts(instances, where_of)
    return Metadata(tuple(kept), glosses[:num_glosses], (*refused, *twice), tuple(others))


def _load_json(path: Path, how_to_get: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = f"\n{how_to_get}" if how_to_get else ""
        raise MetadataError(f"{path}: no such metadata file (dataset.metadata).{hint}") from None
    except (OSError, ValueError) as error:
        raise MetadataError(f"{path}: not a JSON file: {error}") from None


def _rows(content: Any, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """``(where, row)`` for each instance; ``where`` is how a person finds the row in the file."""
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


def _name_problem(name: Any) -> str | None:
    """Why a name cannot be one folder or file name; None if it can."""
    if not isinstance(name, str) or not name:
        return "is not a text"
    if name.startswith("."):
        return "starts with a dot"
    if "/" in name or "\\" in name:
        return "holds a path separator"
    if not name.isprintable():
        return "holds control characters"
    if name != name.strip():
        return "starts or ends with white space"
    if len(name.encode()) > 200:
        return "is longer than 200 bytes"
    return None


def _row_problem(row: dict[str, Any], fps: float) -> str | None:
    for key in ("gloss", "split", "video_id"):
        problem = _name_problem(row.get(key))
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


def _instance(row: dict[str, Any]) -> Instance:
    return Instance(
        video_id=row["video_id"],
        gloss=row["gloss"],
        split=row["split"],
        url=row["url"],
        site=str(row.get("source", "")),
        frame_start=row["frame_start"],
        frame_end=row["frame_end"],
        bbox=tuple(row["bbox"]) if row.get("bbox") is not None else None,
        signer_id=row.get("signer_id", -1),
    )


def _without_conflicts(
    instances: Sequence[Instance], where_of: dict[str, list[str]]
) -> tuple[list[Instance], list[Refused]]:
    """Rows that share a video_id would overwrite each other's clip: equal ones count once, others never."""
    distinct = list(dict.fromkeys(instances))
    times = Counter(instance.video_id for instance in distinct)
    kept = [instance for instance in distinct if times[instance.video_id] == 1]
    refused = [
        Refused(
            video_id, f"{' and '.join(where_of[video_id])}: video_id={video_id!r} for different instances"
        )
        for video_id, count in times.items()
        if count > 1
    ]
    return kept, refused


# ---------------------------------------------------------------- label map


def load_or_make_label_map(path: Path, glosses: Sequence[str]) -> dict[str, int]:
    """``{gloss: label}``, read from ``path`` if it is there, otherwise made in this order and written.

    The file holds ``gloss2idx`` and ``idx2gloss`` (JSON: the index is a string).

    Raises:
        MetadataError: the file contradicts itself, or lacks a gloss of the metadata.
    """
    if not path.exists():
        label_of = {gloss: label for label, gloss in enumerate(glosses)}
        content = {"gloss2idx": label_of, "idx2gloss": {str(i): gloss for gloss, i in label_of.items()}}
        atomic_write_text(path, json.dumps(content, indent=1, ensure_ascii=False))
        return label_of
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        label_of, gloss_of = dict(content["gloss2idx"]), dict(content["idx2gloss"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MetadataError(
            f"{path}: not a label map with gloss2idx and idx2gloss. Mend it, or delete it to have it made"
        ) from None
    if (
        sorted(label_of.values()) != list(range(len(label_of)))
        or {str(i): gloss for gloss, i in label_of.items()} != gloss_of
    ):
        raise MetadataError(
            f"{path}: gloss2idx and idx2gloss are not each other's inverse over 0…{len(label_of) - 1}"
        )
    unknown = first_few(repr(gloss) for gloss in glosses if gloss not in label_of)
    if unknown:
        raise MetadataError(
            f"{path} has no label for {unknown} of the metadata. Use another dataset.name, or delete the file"
        )
    return label_of
