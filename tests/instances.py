"""Instances for the tests of preprocessing."""

from __future__ import annotations

from typing import Any

from asl.datasets.instance import Instance
from asl.datasets.wlasl import segment_span

YOUTUBE_ID = "0UzEF7ru0sQ"


def make_instance(
    video_id: str, url: str, frame_start: int = 1, frame_end: int = -1, **changes: Any
) -> Instance:
    """A training instance of "book"; frames are counted as in WLASL, at 25 fps."""
    start_s, end_s = segment_span(frame_start, frame_end, 25)
    fields = {"gloss": "book", "split": "train", "video_id": video_id, "url": url}
    return Instance(**fields | {"start_s": start_s, "end_s": end_s} | changes)
