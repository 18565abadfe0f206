"""What the page asks for: the glosses of an uploaded video, its frames, and what decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames
from asl.data.frames.store import frame_pictures
from asl.data.transforms import crop_pictures
from asl.inference.app.occlusion import falls
from asl.inference.app.settings import ServerSettings
from asl.inference.clip_frames import Span, draw_span
from asl.inference.prediction import Ranking, VideoFileError, rank_glosses
from asl.inference.predictor import Predictor
from asl.workers import Failed, Workers

#: Groups of frames that are hidden one after another.
GROUPS = 8

_TOP = 5
_DECODERS = 2  # the network is the slower part


@dataclass(frozen=True)
class Recognised:
    """The glosses of a video, and the frames that the network got."""

    top: Ranking
    label: int  # of the first gloss
    duration_s: float
    times_s: npt.NDArray[np.float64]  # (T,), of the frames, from the first
    frames: Frames  # (T, H, W, 3), before the crop


class Recognition:
    """Recognises the signs in untrusted files. They are decoded in worker processes, as a context manager.

    Args:
        predictor: the network.
        settings: the limits of a file.
    """

    def __init__(self, predictor: Predictor, settings: ServerSettings) -> None:
        self.predictor, self._settings = predictor, settings
        self._workers = Workers(_DECODERS, preload=[draw_span.__module__])

    def __enter__(self) -> Recognition:
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.end()

    def recognise(self, file: Path) -> Recognised:
        """Recognise the sign in a file.

        Raises:
            VideoFileError: the file is damaged, too large or too long, or takes too long to decode. The
                message has its name without its folder.
            NetworkError: the network gives values that are not finite.
        """
        if file.stat().st_size > self._settings.max_mb * 10**6:
            raise VideoFileError(f"{file.name} is larger than {self._settings.max_mb} MB")
        recogniser = self.predictor.recogniser
        draw = partial(draw_span, spec=recogniser.frames, sampling=recogniser.sampling())
        (ended,) = self._workers.run_each(draw, [(0, Span(file))], timeout_s=self._settings.timeout_s)
        if isinstance(ended, Failed):
            problem = ended.error if isinstance(ended.error, VideoError) else ended.message
            raise VideoFileError(f"{file.name} {problem}")
        drawn = ended.result
        if drawn.duration_s > self._settings.max_s:
            raise VideoFileError(
                f"{file.name} lasts {drawn.duration_s:.1f} s, and {self._settings.max_s:g} s are allowed"
            )
        frames = frame_pictures(torch.from_numpy(drawn.frames), recogniser.framing).numpy()
        (probabilities,) = self.predictor.probabilities(frames[np.newaxis])
        return Recognised(
            top=rank_glosses(probabilities, self.predictor.glosses, _TOP),
            label=int(probabilities.argmax()),
            duration_s=drawn.duration_s,
            times_s=drawn.times_s,
            frames=frames,
        )

    def falls(self, found: Recognised, groups: Sequence[range]) -> list[float]:
        """By how much the first gloss's probability falls for each hidden group of frames."""
        return falls(self.predictor.probabilities, found.frames, found.label, groups)

    def cropped(self, found: Recognised) -> Frames:
        """The part of the frames that the network sees: ``(T, crop_size, crop_size, 3)`` uint8."""
        return crop_pictures(found.frames, self.predictor.recogniser.framing.crop_size)
