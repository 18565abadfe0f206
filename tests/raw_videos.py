"""Raw videos whose every frame says its number, and what is read back from clips."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from asl.codecs.probe import probe
from asl.demo.frame_number import read_frame_number
from asl.demo.raw_files import Format, RawFile, write_raw_file
from asl.demo.signer import make_signer

RATES = {
    "film": Fraction(24000, 1001),
    "pal": Fraction(25),
    "ntsc": Fraction(30000, 1001),
    "thirty": Fraction(30),
    "variable": None,
}


def write_raw(path: Path, *, duration_s: float = 2.0, damage: str | None = None, **form: Any) -> Path:
    """A resting signer under a strip of frame numbers; ``form`` goes to the demo's ``Format``."""
    form = {"fps": Fraction(25), **form, "suffix": path.suffix}
    raw = RawFile(path.name, Format(**form), make_signer(0, 0), (), duration_s, damage)
    write_raw_file(raw, path)
    return path


def frame_numbers(path: Path) -> list[int]:
    """The numbers in a file's pictures, in the order in which they are shown, upright or not."""
    turns = {"transpose=clock": 3, "transpose=cclock": 1, "hflip": 2}
    steps = probe(path).orientation_filters
    quarter_turns = turns[steps[0]] if steps else 0
    with av.open(str(path)) as container:
        return [read_frame_number(np.rot90(picture, quarter_turns)) for picture in pictures(container)]


def pictures(container: av.container.InputContainer) -> Iterator[np.ndarray]:
    """All frames of a video, ``(H, W, 3)`` uint8 each. One reformatter makes them several times as fast."""
    reformatter = VideoReformatter()
    for frame in container.decode(video=0):
        yield reformatter.reformat(frame, format="rgb24").to_ndarray()


def shrink(source: Path, target: Path, *, crf: int = 30) -> Path:
    """The same video at half the size, another frame type pattern and a low quality."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        shown = reading.streams.video[0]
        stream = writing.add_stream("libx264", rate=shown.average_rate, options={"crf": str(crf)})
        stream.codec_context.time_base = shown.time_base
        stream.width, stream.height, stream.pix_fmt = shown.width // 4 * 2, shown.height // 4 * 2, "yuv420p"
        for frame in reading.decode(shown):
            small = frame.reformat(width=stream.width, height=stream.height)
            small.pict_type = 0
            writing.mux(stream.encode(small))
        writing.mux(stream.encode())
    return target
