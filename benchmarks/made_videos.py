"""Raw videos in WLASL's proportions for benchmarks, every frame with its number on it.

A moving figure before a still, grainy wall: about as hard to encode as a sign clip. Nine of ten are
whole files, one of ten is a segment of a long one, as in WLASL100 (1,833 of 2,038 rows have no end).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from asl.demo.frame_number import BARCODE_HEIGHT, write_frame_number
from asl.workers import Failed, run_each

SIZES = ((320, 240), (640, 480), (1280, 720))  # width, height
RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30))
#: Standard deviation in grey levels: 0.3, 2 and 7 Mbit/s at 240p, 480p and 720p. On two cores the plain
#: loop then takes 1.2 s a clip; on 65 real WLASL100 rows it took 1.1 s.
GRAIN = 3.5
_LENGTHS = (27, 60, 148)  # at 25 fps: shortest, usual, longest, as in WLASL
_SEGMENTS = 12  # of one long source


@dataclass(frozen=True)
class Video:
    """One raw file to make."""

    path: Path
    width: int
    height: int
    fps: Fraction
    num_frames: int
    seed: int
    grain: float = GRAIN


def write_video(video: Video) -> None:
    """Draw and encode it: H.264, yuv420p, a key frame every 250 frames as x264 has by default."""
    rng = np.random.default_rng(video.seed)
    height, width = video.height, video.width
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    wall = (105 + 50 * np.sin(3 * x + video.seed) * np.cos(2 * y)).astype(np.int16)
    grain = rng.normal(0, video.grain, (height + 64, width + 64)).astype(np.int16)
    radius = height // 10
    ky, kx = np.mgrid[-2 : 2 : 1j * 4 * radius, -2 : 2 : 1j * 4 * radius]  # type: ignore[misc]
    blob = (90 * np.exp(-(kx**2 + ky**2))).astype(np.int16)
    tint = rng.uniform(-25, 25, (2, 1, 1)) * np.linspace(-1, 1, width // 2)
    chroma = (128 + tint.repeat(height // 2, axis=1)).astype(np.uint8)
    chroma[:, : _strip(height) // 2 + 1] = 128
    with av.open(str(video.path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=video.fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "crf": "21"}
        for number in range(video.num_frames):
            t = number / float(video.fps)
            dy, dx = rng.integers(0, 64, 2)
            picture = wall + grain[dy : dy + height, dx : dx + width]
            for k in range(3):
                cx = int(width * (0.5 + 0.3 * np.sin(2.1 * t + 2 * k + video.seed))) - 2 * radius
                cy = int(height * (0.55 + 0.2 * np.cos(1.7 * t + k))) - 2 * radius
                top, left = max(cy, 0), max(cx, 0)
                part = picture[top : cy + 4 * radius, left : cx + 4 * radius]
                part += blob[top - cy :, left - cx :][: part.shape[0], : part.shape[1]]
            luma = picture.clip(16, 235).astype(np.uint8)
            luma[: _strip(height)] = _number(number, width, height)
            planes = np.concatenate([luma.reshape(-1), chroma.reshape(-1)]).reshape(-1, width)
            for packet in stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _strip(height: int) -> int:
    return round(height * BARCODE_HEIGHT)


def _number(number: int, width: int, height: int) -> np.ndarray:
    """The strip of a frame number in limited-range luma."""
    image = np.zeros((height, width, 3), np.uint8)
    write_frame_number(image, number)
    return (16 + image[: _strip(height), :, 0].astype(np.float32) * 219 / 255).round().astype(np.uint8)


def row(video_id: str, url: str, start: int = 1, end: int = -1) -> dict[str, Any]:
    """A row of flat WLASL metadata."""
    return {
        "gloss": "benchmark",
        "split": "train",
        "video_id": video_id,
        "url": url,
        "frame_start": start,
        "frame_end": end,
        "fps": 25,
    }


def make_set(raw: Path, clips: int, *, grain: float = GRAIN, seed: int = 0) -> list[dict[str, Any]]:
    """``clips`` rows of metadata and their raw files, all sizes and rates in equal shares."""
    raw.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    videos: list[Video] = []
    rows: list[dict[str, Any]] = []

    def add(num_frames: int) -> Video:
        k = len(videos)
        (width, height), fps = SIZES[k % 3], RATES[k // 3 % 3]
        count = max(2, round(num_frames * fps / 25))
        video = Video(raw / f"raw{k:04d}.mp4", width, height, fps, count, k, grain)
        videos.append(video)
        return video

    least, usual, most = _LENGTHS
    lengths = np.clip(rng.lognormal(np.log(usual), 0.4, clips), least, most).astype(int).tolist()
    segments = clips // 10
    for i in range(0, segments, _SEGMENTS):
        tiles = lengths[i : min(i + _SEGMENTS, segments)]
        video, start = add(sum(tiles) + 10), 1
        for k, length in enumerate(tiles):
            url = f"http://bench.example/{video.path.name}"
            rows.append(row(f"s{i + k:04d}", url, start, start + length - 1))
            start += length
    for i in range(segments, clips):
        rows.append(row(f"w{i:04d}", f"http://bench.example/{add(lengths[i]).path.name}"))
    write_videos(videos)
    return rows


def write_videos(videos: Sequence[Video]) -> None:
    """Write them all, one process a core, the longest first."""
    for ended in run_each(write_video, sorted(videos, key=lambda v: -v.num_frames * v.width * v.height)):
        if isinstance(ended, Failed):
            raise RuntimeError(f"{ended.task.path}: {ended.message}")
