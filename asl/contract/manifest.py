"""The manifest: a CSV file with one row for each proven clip.

``preprocess.py`` writes it; ``train.py`` and ``evaluate.py`` read it. The label map beside it is in
``label_map.py``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from asl.errors import UserError
from asl.files import atomic_write_text, read_csv
from asl.messages import first_few

SPLITS = ("train", "val", "test")

#: The end of a manifest's file name, after the name of the data set.
MANIFEST = "_manifest.csv"


#: Left, top, right, bottom of a part of a picture, in shares of its width and height.
Box = tuple[float, float, float, float]


def manifest_name(path: Path) -> str:
    """The name of a manifest: ``x`` for ``x_manifest.csv``, as ``preprocess.py`` names that of data set x."""
    return path.name.removesuffix(MANIFEST)


class ManifestError(UserError):
    """A manifest that is missing, malformed or inconsistent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One row of the manifest. The fields are the columns, in order; later versions only append columns."""

    split: str  # train, val or test
    gloss: str
    label: int  # class index, counted from 0
    video_id: str  # unique in a manifest
    path: str  # relative to paths.data_dir, or absolute
    num_frames: int  # frames in the file, counted by decoding all of them
    fps: float  # mean rate: num_frames / duration_s
    duration_s: float
    width: int  # pixels, after rotation to upright
    height: int
    signer_id: str  # the data set's name of the signer; empty if unknown
    source: str  # raw file from which the clip was cut, relative to dataset.root
    start_s: float  # the clip is [start_s, end_s) of the source
    end_s: float
    match: str = ""  # how the source was identified: path, video_id, youtube_id, url_name or evidence
    flags: str = ""  # keys of FLAGS, separated by spaces
    copies: str = ""  # sorted video_ids of other clips with the same video, separated by spaces
    dataset: str = ""  # name of the data set; empty if unknown
    box: str = ""  # the signer's left, top, right, bottom in shares of the picture, separated by spaces

    @property
    def is_clean(self) -> bool:
        """Whether no flag speaks against the clip, see :func:`flags_are_clean`."""
        return flags_are_clean(self.flags)

    @property
    def signer_box(self) -> Box | None:
        """The column ``box`` as numbers. None if the box is unknown."""
        if not self.box:
            return None
        left, top, right, bottom = map(float, self.box.split())
        return left, top, right, bottom


def flags_are_clean(flags: str) -> bool:
    """Whether none of a clip's flags speaks against it. ``duplicate`` does not: the clip only counts twice.

    Args:
        flags: keys of :data:`FLAGS`, separated by spaces.
    """
    return set(flags.split()) <= {"duplicate"}


#: The flags that the audit gives to clips, and their meaning.
FLAGS = {
    "suspect": "its source's length, picture size or frame rate speaks against the match",
    "bitstream": "the GPU's parser of H.264 refuses what the host's strict decoder takes",
    "leakage": "the same video is in another split",
    "conflict": "the same video stands for another gloss",
    "duplicate": "the same video is in the same split under the same gloss",
}

#: The flags that describe copies of a clip. They depend on the split of both clips.
COPY_FLAGS = ("leakage", "conflict", "duplicate")


def copy_flags(first: tuple[str, str], second: tuple[str, str]) -> set[str]:
    """Flags of two clips with the same video, each clip given as ``(split, gloss)``."""
    flags = {"leakage"} if first[0] != second[0] else set()
    if first[1] != second[1]:
        flags.add("conflict")
    return flags or {"duplicate"}


def signer_order(signer_id: str) -> tuple[int, str]:
    """Sort key of signers that puts numbers into numerical order, unknown signers first."""
    return len(signer_id), signer_id


COLUMNS = tuple(field.name for field in dataclasses.fields(Clip))
_REQUIRED = tuple(field.name for field in dataclasses.fields(Clip) if field.default is dataclasses.MISSING)
_TYPES = {"int": int, "float": float, "str": str}


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write a manifest atomically: readers see the old file or the complete new one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(attrgetter(*COLUMNS), clips))
    atomic_write_text(path, text.getvalue())


def read_manifest(path: Path | str) -> list[Clip]:
    """Read a manifest and check it. Unknown columns are ignored.

    Columns that earlier versions did not have are filled: ``dataset`` from the file's name, the others are
    empty. A ``signer_id`` of -1, which stood for an unknown signer, is read as empty.

    Raises:
        ManifestError: the file or a column is missing, the file is no CSV in UTF-8, a value has the wrong
            type or is out of range, a split is unknown, a ``video_id`` occurs twice, or label and gloss are
            not one to one.
    """
    path = Path(path)
    if not path.is_file():
        there = first_few(str(other) for other in sorted(path.parent.glob(f"*{MANIFEST}")))
        hint = f", or choose one that is there with data.manifest=: {there}" if there else ""
        raise ManifestError(
            f"{path}: no such manifest. Write it with: python preprocess.py, with the same dataset keys{hint}"
        )
    try:
        columns, rows = read_csv(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} is damaged: {error}. Write it anew with: python preprocess.py") from None
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise ManifestError(
            f"{path}: column {', '.join(missing)} is missing. Write it anew with: python preprocess.py"
        )
    if "dataset" not in columns and path.name.endswith(MANIFEST):  # a manifest of an earlier version
        rows = [(line, {**row, "dataset": manifest_name(path)}) for line, row in rows]
    clips = [_parse(row, f"{path}, line {line}") for line, row in rows]
    _check(clips, path)
    return clips


def _parse(row: Mapping[str, str], where: str) -> Clip:
    values = {}
    for field in dataclasses.fields(Clip):
        text = row.get(field.name, "")
        try:
            values[field.name] = _TYPES[str(field.type)](text)
        except ValueError:
            raise ManifestError(f"{where}: {field.name}={text!r} is not of type {field.type}") from None
    if values["signer_id"] == "-1":
        values["signer_id"] = ""
    if values["split"] not in SPLITS:
        raise ManifestError(f"{where}: split={values['split']!r} is not one of {', '.join(SPLITS)}")
    if values["label"] < 0:
        raise ManifestError(f"{where}: label={values['label']} is negative")
    for name in ("num_frames", "fps", "duration_s"):
        if not 0 < values[name] < math.inf:
            raise ManifestError(f"{where}: {name}={values[name]} is not above 0")
    clip = Clip(**values)
    if not _is_box(clip):
        raise ManifestError(
            f"{where}: box={clip.box!r} is not left, top, right, bottom in shares of the picture"
        )
    return clip


def _is_box(clip: Clip) -> bool:
    """Whether the column ``box`` is empty or four numbers that are a part of the picture."""
    try:
        box = clip.signer_box
    except ValueError:
        return False
    return box is None or (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1)


def _check(clips: list[Clip], path: Path) -> None:
    seen: set[str] = set()
    gloss_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    for clip in clips:
        if clip.video_id in seen:
            raise ManifestError(f"{path}: video_id {clip.video_id} occurs twice")
        seen.add(clip.video_id)
        if gloss_of.setdefault(clip.label, clip.gloss) != clip.gloss:
            raise ManifestError(
                f"{path}: label {clip.label} stands for {gloss_of[clip.label]!r} and {clip.gloss!r}"
            )
        if label_of.setdefault(clip.gloss, clip.label) != clip.label:
            raise ManifestError(
                f"{path}: gloss {clip.gloss!r} has labels {label_of[clip.gloss]} and {clip.label}"
            )
