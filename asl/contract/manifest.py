"""The contract between the two programs: one row for each clip that preprocessing proved good."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asl.errors import UserError
from asl.files import atomic_write_text

SPLITS = ("train", "val", "test")


class ManifestError(UserError):
    """A manifest that is missing or does not say what it must."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One row. The columns stand in this order; later columns may be added, these stay."""

    split: str  # train, val or test
    gloss: str
    label: int  # class index, from 0
    video_id: str  # unique in a manifest
    path: str  # relative to paths.data_dir, or absolute
    num_frames: int  # frames in the file, each decoded once
    fps: float  # mean rate: num_frames / duration_s
    duration_s: float
    width: int  # pixels, upright
    height: int  # pixels, upright
    signer_id: int  # -1: unknown
    source: str  # raw file that it was cut from, relative to paths.raw_dir
    start_s: float  # [start_s, end_s) of the source
    end_s: float
    match: str = ""  # how the source is known: video_id, youtube_id, url_name or evidence
    flags: str = ""  # words of FLAGS, separated by spaces
    copies: str = ""  # video_ids of clips of this manifest with the same video, sorted, separated by spaces


#: What an audit may say of a clip.
FLAGS = {
    "suspect": "its source's length or picture size speaks against the match",
    "leakage": "the same video is in another split",
    "conflict": "the same video stands for another gloss",
    "duplicate": "the same video is in the same split under the same gloss",
}

#: Those that speak of copies: they depend on the splits.
COPY_FLAGS = ("leakage", "conflict", "duplicate")


def copy_flags(first: tuple[str, str], second: tuple[str, str]) -> set[str]:
    """The flags of two clips that show the same video, each given as ``(split, gloss)``."""
    flags = {"leakage"} if first[0] != second[0] else set()
    if first[1] != second[1]:
        flags.add("conflict")
    return flags or {"duplicate"}


COLUMNS = tuple(field.name for field in dataclasses.fields(Clip))
_REQUIRED = tuple(field.name for field in dataclasses.fields(Clip) if field.default is dataclasses.MISSING)
_TYPES = {"int": int, "float": float, "str": str}


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write the whole manifest or nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(dataclasses.astuple(clip) for clip in clips)
    atomic_write_text(path, text.getvalue())


def read_manifest(path: Path) -> list[Clip]:
    """Read and check a manifest. Unknown columns are ignored.

    Raises:
        ManifestError: no file, a column missing, a value of the wrong type, an unknown split, a
            ``video_id`` twice, or a label that stands for two glosses (or a gloss for two labels).
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest. Write it with: python preprocess.py")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise ManifestError(
                f"{path}: column {', '.join(missing)} is missing. Write it anew with: python preprocess.py"
            )
        clips = [_parse(row, f"{path}, line {reader.line_num}") for row in reader]
    _check(clips, path)
    return clips


def _parse(row: dict[str, str | None], where: str) -> Clip:
    values = {}
    for field in dataclasses.fields(Clip):
        text = row.get(field.name)
        try:
            values[field.name] = _TYPES[str(field.type)](text or "")
        except ValueError:
            raise ManifestError(f"{where}: {field.name}={text!r} is not of type {field.type}") from None
    if values["split"] not in SPLITS:
        raise ManifestError(f"{where}: split={values['split']!r} is not one of {', '.join(SPLITS)}")
    if values["label"] < 0:
        raise ManifestError(f"{where}: label={values['label']} is negative")
    return Clip(**values)


def _check(clips: list[Clip], path: Path) -> None:
    seen: set[str] = set()
    gloss_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    for clip in clips:
        if clip.video_id in seen:
            raise ManifestError(f"{path}: video_id {clip.video_id} stands there twice")
        seen.add(clip.video_id)
        if gloss_of.setdefault(clip.label, clip.gloss) != clip.gloss:
            raise ManifestError(
                f"{path}: label {clip.label} stands for {gloss_of[clip.label]!r} and {clip.gloss!r}"
            )
        if label_of.setdefault(clip.gloss, clip.label) != clip.label:
            raise ManifestError(
                f"{path}: gloss {clip.gloss!r} has labels {label_of[clip.gloss]} and {clip.label}"
            )
