"""Signs in a live video: a window that ends with the latest frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asl.codecs.pictures import RgbResizer
from asl.contract.frame_store import Frames
from asl.inference.clip_frames import DecodedSpan
from asl.inference.prediction import Prediction
from asl.inference.predictor import Predictor

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def watch(
    frames: Iterable[tuple[VideoFrame, Fraction]],
    predictor: Predictor,
    *,
    name: str,
    window_s: float,
    stride_s: float,
    top: int = 5,
) -> Iterator[Prediction]:
    """Predict the sign in the last ``window_s`` seconds, every ``stride_s``.

    Args:
        frames: in the order of their time, in seconds from the first one.
        predictor: the recogniser.
        name: ``file`` of the predictions.
        window_s: seconds of the window; the first one is predicted when it is full.
        stride_s: seconds from one prediction to the next; more where the machine is too slow.
        top: how many glosses each prediction has.
    """
    resize: RgbResizer | None = None
    kept: deque[tuple[float, Frames]] = deque()  # times and (H, W, 3)
    next_s = window_s
    for frame, exact_s in frames:
        if resize is None:
            height, width = predictor.recogniser.frames.size(frame.width, frame.height)
            resize = RgbResizer(width, height)
        time_s = float(exact_s)
        if time_s >= next_s:  # the frames before this one are displayed until it begins
            while kept[0][0] < time_s - window_s:
                kept.popleft()
            times_s = np.array([one for one, _ in kept])
            pictures = np.stack([picture for _, picture in kept])
            window = DecodedSpan(
                pictures, times_s - times_s[0], float(times_s[0]), time_s - float(times_s[0])
            )
            drawn = window.drawn(predictor.recogniser.sampling())
            yield from predictor.predict_decoded([Path(name)], [drawn], top)
            next_s = time_s + stride_s
        kept.append((time_s, resize(frame)))


def changes(windows: Iterable[Prediction], threshold: float) -> Iterator[Prediction]:
    """The windows in which another sign is detected than in the one before.

    Args:
        windows: in the order of time.
        threshold: the least probability of a window that counts.
    """
    latest: str | None = None
    for window in windows:
        gloss = window.gloss if window.probability >= threshold else None
        if gloss is not None and gloss != latest:
            yield window
        latest = gloss
