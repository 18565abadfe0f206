"""MS-ASL (Joze & Koller, BMVC 2019): signs in videos of YouTube.

Measured on rows of the metadata: ``start`` and ``end`` count the source's own frames from 0, without the last
one, and ``start_time`` and ``end_time`` are these at ``fps``, rounded. ``box`` is top, left, bottom, right in
shares of the picture. Some URLs have no scheme, and many rows share one video.

Which of ``signer_id`` and ``signer`` names the signer is not documented; in a row they differ. The official
splits have no signer in common, so the first of the two that keeps this is taken, and none if neither does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeGuard

from asl.config.setting import setting
from asl.contract.manifest import SPLITS
from asl.datasets.base import SignDataset
from asl.datasets.instance import Box, Instance, Metadata, MetadataError
from asl.datasets.names import make_video_id
from asl.datasets.native_frames import frame_rate, span_of_frames
from asl.datasets.reading import make_instances, read_groups, read_json

Row = dict[str, Any]


@dataclass(kw_only=True)
class Msasl(SignDataset):
    """MS-ASL's metadata files, and how many of its classes are used."""

    metadata: str = setting(
        "???", "the folder of MSASL_train.json, _val.json, _test.json, _classes.json and _synonym.json"
    )
    num_glosses: int | None = setting(
        None, "keep the classes with a label below N: 100, 200, 500 or 1000 in the paper; null: all", ge=1
    )

    def load(self) -> Metadata:
        """Read the five files. Labels are the authors' own.

        Raises:
            MetadataError: a file is missing or cannot be used.
        """
        folder = Path(self.metadata)
        classes = self._read(folder / "MSASL_classes.json")
        if not all(isinstance(name, str) for name in classes):
            raise MetadataError(f"{folder / 'MSASL_classes.json'} is not a list of glosses")
        groups = read_groups(
            folder / "MSASL_synonym.json", key="dataset.metadata", how_to_get=self.how_to_get
        )
        canonical = {text: group[0] for group in groups for text in group}
        number = len(classes) if self.num_glosses is None else self.num_glosses
        if number > len(classes):
            raise MetadataError(
                f"{folder} has {len(classes)} classes, fewer than dataset.num_glosses={number}"
            )

        rows = [row for split in SPLITS for row in self._rows(folder, split)]
        signer_key = _signer_key([row for _, row in rows])

        def make(row: Row) -> Instance:
            return _instance(row, classes, canonical, signer_key)

        left_out = range(number, len(classes))
        instances, refused = make_instances(
            [row for row in rows if row[1].get("label") not in left_out], make
        )
        others, _ = make_instances([row for row in rows if row[1].get("label") in left_out], make)
        note = (
            f"signers are named by {signer_key}"
            if signer_key
            else "signers are unknown: neither signer_id nor signer keeps the splits apart"
        )
        return Metadata(
            tuple(instances),
            tuple(classes[:number]),
            tuple(refused),
            others=tuple(others),
            notes=(f"MS-ASL: {note}",),
        )

    def _rows(self, folder: Path, split: str) -> list[tuple[str, Row]]:
        path = folder / f"MSASL_{split}.json"
        rows = self._read(path)
        if not all(isinstance(row, dict) for row in rows):
            raise MetadataError(f"{path} is not a list of objects")
        if rows and not any("fps" in row for row in rows):
            raise MetadataError(
                f"{path}: no row has fps, so its frames cannot be placed in time. Use the authors' file; the "
                "ones of OpenHands lack fps"
            )
        return [(f"{path.name}, row {i}", {**row, "split": split}) for i, row in enumerate(rows, start=1)]

    def _read(self, path: Path) -> list[Any]:
        content = read_json(path, key="dataset.metadata", how_to_get=self.how_to_get)
        if not isinstance(content, list):
            raise MetadataError(f"{path} is not a list")
        return content


def _signer_key(rows: Sequence[Row]) -> str | None:
    """The key that names each signer in one split alone. None if neither does."""
    for key in ("signer_id", "signer"):
        named = {(row[key], row["split"]) for row in rows if _is_int(row.get(key))}
        if named and len({signer for signer, _ in named}) == len(named):
            return key
    return None


def _instance(
    row: Row, classes: Sequence[str], canonical: Mapping[str, str], signer_key: str | None
) -> Instance:
    label, text = row.get("label"), row.get("text")
    if not _is_int(label) or not 0 <= label < len(classes):
        raise ValueError(f"label={label!r} is not the number of one of {len(classes)} classes")
    gloss = classes[label]
    if not isinstance(text, str) or canonical.get(text, text) != canonical.get(gloss, gloss):
        raise ValueError(f"text={text!r} is not {gloss!r}, the class of label={label}, nor a synonym")
    url = row.get("url")
    if not isinstance(url, str) or not url.strip():
        raise ValueError(f"url={url!r} is not a text")
    start_s, end_s = _span(row)
    url = url.strip().removeprefix("http://").removeprefix("https://")
    return Instance(
        video_id=make_video_id(f"{row['split']}/{url}/{row['start']}-{row['end']}/{gloss}"),
        gloss=gloss,
        split=row["split"],
        url=f"https://{url}",
        start_s=start_s,
        end_s=end_s,
        box=_box(row),
        signer_id=str(row[signer_key]) if signer_key and _is_int(row.get(signer_key)) else "",
    )


def _span(row: Row) -> tuple[Fraction, Fraction]:
    """The row's span. Raises ValueError if it has none, or if its frames and its seconds contradict."""
    start, end, fps = row.get("start"), row.get("end"), row.get("fps")
    if not _is_int(start) or not _is_int(end) or not _is_number(fps):
        raise ValueError(
            f"start={start!r}, end={end!r}, fps={fps!r} are not two numbers of frames and a rate"
        )
    span = span_of_frames(start, end, fps)
    for name, frame in (("start", start), ("end", end)):
        seconds = row.get(f"{name}_time", frame / fps)
        if not _is_number(seconds) or abs(seconds - frame / frame_rate(fps)) > 1 / (2 * fps):
            raise ValueError(f"{name}_time={seconds!r} is not {name}={frame} at fps={fps:g}")
    return span


def _box(row: Row) -> Box | None:
    box = row.get("box")
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f"box={box!r} is not four numbers")
    top, left, bottom, right = box
    width, height = row.get("width"), row.get("height")
    return Box(
        *(left, top, right, bottom, "shares"),
        width=round(width) if _is_number(width) else None,
        height=round(height) if _is_number(height) else None,
    )


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> TypeGuard[float]:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))
