"""Write tiny clips with known frames, and manifests of them, for tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from asl.contract.label_map import label_map_path, read_or_write_label_map
from asl.contract.manifest import Clip, write_manifest

GLOSSES = ("book", "drink", "go")


def write_clip(
    path: Path,
    *,
    grey: Sequence[int],
    starts_s: Sequence[float] | None = None,
    fps: float = 25.0,
    size: tuple[int, int] = (64, 48),
) -> None:
    """Write an H.264 file of uniformly grey frames.

    Args:
        path: the file.
        grey: level of each frame, 0 to 255.
        starts_s: time stamp of each frame in seconds. None: ``i / fps``.
        fps: frame rate.
        size: width and height in pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(fps), options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 12800)
        for i, value in enumerate(grey):
            frame = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), value, np.uint8), format="rgb24"
            )
            frame.pts = round(12800 * (starts_s[i] if starts_s is not None else i / fps))
            frame.time_base = Fraction(1, 12800)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_clip(
    split: str, label: int, number: int, *, num_frames: int = 12, fps: float = 25.0, gloss: str | None = None
) -> Clip:
    """The manifest row of a clip of 64 x 48 pixels that :func:`write_clip` can write to ``clip.path``."""
    video_id = f"{split}{label}{number:02d}"
    gloss = gloss or GLOSSES[label]
    return Clip(
        split=split,
        gloss=gloss,
        label=label,
        video_id=video_id,
        path=f"videos/{split}/{gloss}/{video_id}.mp4",
        num_frames=num_frames,
        fps=fps,
        duration_s=num_frames / fps,
        width=64,
        height=48,
        signer_id="",
        source=f"{video_id}.mp4",
        start_s=0.0,
        end_s=num_frames / fps,
    )


def write_dataset(data_dir: Path, counts: dict[str, int], *, num_glosses: int = 3) -> list[Clip]:
    """Write ``counts[split]`` clips of each gloss, whose brightness depends on the gloss, and their manifest.

    The manifest is ``data_dir / "metadata" / "tiny_manifest.csv"``. Returns its rows.
    """
    clips = [
        make_clip(split, label, number)
        for split, count in counts.items()
        for label in range(num_glosses)
        for number in range(count)
    ]
    for i, clip in enumerate(clips):
        base = 40 + 160 * clip.label // num_glosses + i % 7
        write_clip(data_dir / clip.path, grey=[base + 2 * frame for frame in range(clip.num_frames)])
    write_manifest_and_label_map(data_dir / "metadata" / "tiny_manifest.csv", clips)
    return clips


def write_manifest_and_label_map(path: Path, clips: Sequence[Clip]) -> Path:
    """Write a manifest and its label map. Returns the path of the manifest."""
    gloss_of = {clip.label: clip.gloss for clip in clips}
    glosses = [gloss_of.get(label, f"gloss {label}") for label in range(max(gloss_of) + 1)]
    write_manifest(path, clips)
    read_or_write_label_map(label_map_path(path), glosses)
    return path
