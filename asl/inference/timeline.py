"""Detected signs as files: CSV, JSON, WebVTT for players, and EAF for ELAN."""

from __future__ import annotations

import csv
import io
import json
import mimetypes
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from asl.files import atomic_write, atomic_write_text
from asl.inference.windows import Detection

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_TYPE = "default-lt"  # ELAN's name of the type of tiers with free text


@dataclass(frozen=True)
class Timeline:
    """The signs detected in a video."""

    file: Path
    window_s: float
    stride_s: float
    threshold: float
    detections: tuple[Detection, ...]


def write_timeline(timeline: Timeline, folder: Path, name: str) -> None:
    """Write ``{name}.csv``, ``.json``, ``.vtt`` and ``.eaf``, each atomically.

    Raises:
        OSError: they cannot be written.
    """
    atomic_write_text(folder / f"{name}.csv", to_csv([timeline]))
    atomic_write_text(folder / f"{name}.json", json.dumps(as_json(timeline), indent=2) + "\n")
    atomic_write_text(folder / f"{name}.vtt", to_webvtt(timeline.detections))
    with atomic_write(folder / f"{name}.eaf") as file:
        to_eaf(timeline).write(file, encoding="UTF-8", xml_declaration=True)


def as_json(timeline: Timeline) -> dict[str, Any]:
    """The timeline as plain values."""
    return {**asdict(timeline), "file": str(timeline.file)}


def to_csv(timelines: Sequence[Timeline]) -> str:
    """A row for each detection."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "start_s", "end_s", "gloss", "probability"])
    for timeline in timelines:
        for one in timeline.detections:
            times = f"{one.start_s:.3f}", f"{one.end_s:.3f}"
            writer.writerow([timeline.file, *times, one.gloss, one.probability])
    return text.getvalue()


def to_webvtt(detections: Sequence[Detection]) -> str:
    """Subtitles: a cue for each detection."""
    cues = [
        f"{_clock(one.start_s)} --> {_clock(one.end_s)}\n{escape(one.gloss, quote=False)}\n"
        for one in detections
    ]
    return "\n".join(["WEBVTT\n", *cues])


def to_eaf(timeline: Timeline) -> ElementTree.ElementTree:
    """An annotation document of ELAN 3.0 with the tier ``signs``."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    ElementTree.SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        MEDIA_URL=timeline.file.resolve().as_uri(),
        MIME_TYPE=mimetypes.guess_type(timeline.file.name)[0] or "video/mp4",
    )
    time_order = ElementTree.SubElement(root, "TIME_ORDER")
    tier = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF=_TYPE, TIER_ID="signs")
    for number, one in enumerate(timeline.detections, start=1):
        slots = f"ts{2 * number - 1}", f"ts{2 * number}"
        for slot, time_s in zip(slots, (one.start_s, one.end_s), strict=True):
            milliseconds = str(round(1000 * time_s))
            ElementTree.SubElement(time_order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=milliseconds)
        annotation = ElementTree.SubElement(
            ElementTree.SubElement(tier, "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            ANNOTATION_ID=f"a{number}",
            TIME_SLOT_REF1=slots[0],
            TIME_SLOT_REF2=slots[1],
        )
        ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = one.gloss
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=_TYPE,
        TIME_ALIGNABLE="true",
    )
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _clock(time_s: float) -> str:
    """``01:02:03.456``."""
    milliseconds = round(1000 * time_s)
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds % 1000:03}"
