"""The HTML of the frames that the network saw, with what each group of them decided."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from asl.contract.frame_store import Frames
from asl.page.addresses import jpeg_uri

_JPEG_QUALITY = 80

_EXPLANATION = (
    "The frames that the network saw, in the order of time; each column is read from top to bottom. A bar "
    "shows by how many percentage points the probability of the first gloss falls when the frames of its "
    "column are replaced by the nearest frame before or after them."
)


def frames_markup(
    pictures: Frames, times_s: npt.NDArray[np.float64], groups: Sequence[range], falls: Sequence[float] | None
) -> str:
    """A column for each group of frames, in the order of time: a bar, the time, and the frames.

    Args:
        pictures: ``(T, H, W, 3)`` uint8.
        times_s: ``(T,)``.
        groups: of the frames.
        falls: by how much the probability falls without each group. None: not known yet.
    """
    columns = []
    for number, group in enumerate(groups):
        height, fall = 0, "…"
        if falls is not None:
            height, fall = max(0, round(100 * falls[number])), _points(falls[number])
        images = [
            f'<img src="{jpeg_uri(_jpeg(pictures[i]))}" alt="frame at {times_s[i]:.2f} s">' for i in group
        ]
        columns.append(
            f'<figure><div class="bar"><span style="height:{height}%"></span></div>'
            f"<figcaption>{fall}<br>{times_s[group[0]]:.1f} s</figcaption>{''.join(images)}</figure>"
        )
    seen = f'<div class="seen" style="--groups:{len(groups)}">{"".join(columns)}</div>'
    return f"<p>{_EXPLANATION}</p>{seen}"


def problem_markup(message: str) -> str:
    """A message in the place of a result."""
    return (
        f'<div class="problem" role="alert"><b>This video cannot be used.</b><br>{html.escape(message)}</div>'
    )


def _points(fall: float) -> str:
    """``-12`` for a fall of 0.12; ``0`` and never ``-0``."""
    points = -round(100 * fall)
    return f"{points:+d}" if points else "0"


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=_JPEG_QUALITY)
    return content.getvalue()
