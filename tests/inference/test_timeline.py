"""Detected signs as CSV, JSON, WebVTT and EAF."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from asl.inference.timeline import Timeline, write_timeline
from asl.inference.windows import Detection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    detections = Detection("book & go", 0.5, 1.25, 0.9), Detection("drink", 3661.0, 3662.5, 0.75)
    write_timeline(Timeline(tmp_path / "a b.mp4", 2.0, 0.5, 0.6, detections), tmp_path / "out", "long")
    return tmp_path / "out"


def test_csv_has_a_row_for_each_sign(folder: Path) -> None:
    video = folder.parent / "a b.mp4"
    assert (folder / "long.csv").read_text().splitlines() == [
        "file,start_s,end_s,gloss,probability",
        f"{video},0.500,1.250,book & go,0.9",
        f"{video},3661.000,3662.500,drink,0.75",
    ]


def test_json_says_with_which_settings_signs_were_detected(folder: Path) -> None:
    found = json.loads((folder / "long.json").read_text())
    assert (found["window_s"], found["stride_s"], found["threshold"]) == (2.0, 0.5, 0.6)
    assert found["detections"][1] == {
        "gloss": "drink",
        "start_s": 3661.0,
        "end_s": 3662.5,
        "probability": 0.75,
    }


def test_webvtt_has_a_cue_for_each_sign(folder: Path) -> None:
    assert (folder / "long.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nbook &amp; go\n\n01:01:01.000 --> 01:01:02.500\ndrink\n"
    )


def test_eaf_has_the_media_a_time_order_and_one_tier(folder: Path) -> None:
    root = ElementTree.parse(folder / "long.eaf").getroot()
    assert (root.tag, root.get("VERSION")) == ("ANNOTATION_DOCUMENT", "3.0")
    assert [child.tag for child in root] == ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE"]
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    assert media is not None
    assert media.get("MEDIA_URL") == (folder.parent / "a b.mp4").as_uri()
    assert media.get("MIME_TYPE") == "video/mp4"
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    signs = [
        (times[one.get("TIME_SLOT_REF1")], times[one.get("TIME_SLOT_REF2")], one.findtext("ANNOTATION_VALUE"))
        for one in root.iter("ALIGNABLE_ANNOTATION")
    ]
    assert signs == [("500", "1250", "book & go"), ("3661000", "3662500", "drink")]
    [tier], [kind] = root.findall("TIER"), root.findall("LINGUISTIC_TYPE")
    assert tier.get("LINGUISTIC_TYPE_REF") == kind.get("LINGUISTIC_TYPE_ID")
