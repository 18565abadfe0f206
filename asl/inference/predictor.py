"""A trained recogniser for video files: ``asl.load("best.pt").predict("clip.mp4")``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames, FrameSpec
from asl.data.frames.store import resize_frames
from asl.data.sampling import Sampling
from asl.errors import UserError
from asl.inference.clip_frames import DecodedSpan, Span, decode_span
from asl.inference.prediction import Failure, Prediction, VideoFileError, rank_glosses
from asl.inference.recogniser import BATCH_SIZE, Recogniser, choose_device
from asl.machine import available_cores
from asl.training.checkpoints import read_checkpoint
from asl.workers import Failed, Workers

#: A recogniser of signs takes a whole video for one sign. Frames of more seconds are not kept in memory.
LONGEST_S = 120.0


def load(checkpoint: Path | str, *, accelerator: str = "auto") -> Predictor:
    """Load a checkpoint for prediction.

    Args:
        checkpoint: ``best.pt`` or ``last.pt`` of a training.
        accelerator: ``auto`` (a GPU if there is one), ``cpu`` or ``gpu``.

    Raises:
        CheckpointError: there is no such file, or it is not a checkpoint of asl.
        ConfigError: there is no GPU.
    """
    return Predictor(Recogniser(read_checkpoint(checkpoint), device=choose_device(accelerator)))


class NetworkError(UserError):
    """A network that gives no probabilities."""


class Predictor:
    """Predicts the sign in videos, with the frames that training and evaluation give the network.

    Args:
        recogniser: the network.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self.glosses = recogniser.glosses

    def predict(
        self,
        video: Path | str,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        top: int = 5,
    ) -> Prediction:
        """Predict the sign that a video, or a part of it, shows. The video is decoded in this process.

        Args:
            video: the file.
            start_s: of the part, in seconds from the first frame. None: the first frame.
            end_s: of the part. None: the end.
            top: how many glosses the prediction has.

        Raises:
            VideoFileError: the file is missing, damaged or too long, or has no frame in the part.
        """
        span = Span(Path(video), start_s, end_s)
        return self._predictions([span], [self._draw(span)], top)[0]

    def predict_many(
        self,
        videos: Iterable[Path | str],
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        top: int = 5,
        workers: int | None = None,
        timeout_s: float = 300.0,
    ) -> Iterator[Prediction | Failure]:
        """Predict the sign in each of several videos. They are decoded in worker processes.

        A damaged video, one that takes too long and one that crashes the decoder cost only themselves.

        Args:
            videos: the files.
            start_s: of the part of each one, see :meth:`predict`.
            end_s: of the part.
            top: how many glosses each prediction has.
            workers: number of processes; None: one per core.
            timeout_s: time limit for decoding one video.

        Yields:
            A prediction or a failure for each video, in their order.
        """
        spans = [Span(Path(video), start_s, end_s) for video in videos]
        if not spans:
            return
        ended: dict[int, Prediction | Failure] = {}
        waiting: dict[int, DecodedSpan] = {}  # of videos that are decoded
        next_index = 0

        def predict_waiting() -> None:
            of_waiting = self._predictions([spans[index] for index in waiting], list(waiting.values()), top)
            ended.update(zip(waiting, of_waiting, strict=True))
            waiting.clear()

        draw = partial(_draw_one, spec=self.recogniser.frames, sampling=self.recogniser.sampling())
        count = min(workers or available_cores(), len(spans))
        with Workers(count, preload=[decode_span.__module__]) as pool:
            decoded = pool.run_lazily(
                draw, enumerate(spans), ahead=2 * count + BATCH_SIZE, timeout_s=timeout_s
            )
            for one in decoded:
                index, span = one.task
                if isinstance(one, Failed):
                    ended[index] = Failure(span.file, _message(span.file, one.error or one.message))
                else:
                    waiting[index] = one.result
                if len(waiting) == BATCH_SIZE:
                    predict_waiting()
                while next_index in ended:
                    yield ended.pop(next_index)
                    next_index += 1
        if waiting:
            predict_waiting()
        yield from (ended[index] for index in sorted(ended))

    def frames(
        self, video: Path | str, *, start_s: float | None = None, end_s: float | None = None
    ) -> Frames:
        """The frames of a video that the network gets, before the crop: ``(T, H, W, 3)`` uint8.

        Args:
            video: the file.
            start_s: of the part, see :meth:`predict`.
            end_s: of the part.

        Raises:
            VideoFileError: see :meth:`predict`.
        """
        return self._resized(self._draw(Span(Path(video), start_s, end_s)).frames)

    def probabilities(self, frames: Frames) -> npt.NDArray[np.float64]:
        """The probability of each gloss, by label. That of a clip does not depend on the others.

        Args:
            frames: ``(B, T, H, W, 3)`` uint8, those of each clip as :meth:`frames` gives them.

        Returns:
            ``(B, num_classes)``.

        Raises:
            NetworkError: the network gives values that are not finite.
        """
        probabilities: npt.NDArray[np.float64] = self.recogniser.probabilities(
            torch.from_numpy(frames)
        ).numpy()
        if not np.isfinite(probabilities).all():
            raise NetworkError(
                "the network gives no finite probabilities: the checkpoint is of a training that diverged"
            )
        return probabilities

    def _draw(self, span: Span) -> DecodedSpan:
        """The drawn frames, not resized yet. Raises VideoFileError."""
        try:
            return _draw_one((0, span), self.recogniser.frames, self.recogniser.sampling())
        except VideoError as error:
            raise VideoFileError(_message(span.file, error)) from error

    def _predictions(self, spans: Sequence[Span], drawn: Sequence[DecodedSpan], top: int) -> list[Prediction]:
        frames = np.stack([self._resized(one.frames) for one in drawn])
        return [
            Prediction(span.file, one.start_s, one.end_s, rank_glosses(row, self.glosses, top))
            for span, one, row in zip(spans, drawn, self.probabilities(frames), strict=True)
        ]

    def _resized(self, frames: Frames) -> Frames:
        return resize_frames(torch.from_numpy(frames), self.recogniser.size).numpy()


def _draw_one(numbered: tuple[int, Span], spec: FrameSpec, sampling: Sampling) -> DecodedSpan:
    """A part of a video with the frames that are drawn from it. Raises VideoError."""
    return decode_span(numbered[1], spec, longest_s=LONGEST_S).drawn(sampling)


def _message(file: Path, problem: BaseException | str) -> str:
    """One line that names the file. Errors of decoders are predicates."""
    is_predicate = isinstance(problem, (VideoError, str))
    return f"{file} {problem}" if is_predicate else f"{file}: {type(problem).__name__}: {problem}"
