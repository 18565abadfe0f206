"""A trained recogniser for video files: ``asl.load("best.pt").predict("clip.mp4")``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames
from asl.data.frames.store import frame_pictures
from asl.errors import UserError
from asl.inference.clip_frames import DecodedSpan, Span, decode_span, draw_span, video_duration
from asl.inference.prediction import Failure, Prediction, VideoFileError, rank_glosses
from asl.inference.recogniser import Recogniser, choose_device
from asl.inference.windows import plan_pieces, window_starts
from asl.machine import available_cores
from asl.training.checkpoints import read_checkpoint
from asl.workers import Done, Failed, Workers

#: Niceness of the processes that decode. At every layer the network's threads wait for the slowest of them,
#: so they must come first where decoders take all cores.
_NICE = 10


def load(checkpoint: Path | str, *, accelerator: str = "auto") -> Predictor:
    """Load a checkpoint for prediction.

    Args:
        checkpoint: ``best.pt`` or ``last.pt`` of a training.
        accelerator: ``auto`` (a GPU if there is one), ``cpu`` or ``gpu``.

    Raises:
        CheckpointError: there is no such file, or it is not a checkpoint of asl.
        ConfigError: ``accelerator`` is another text, or there is no GPU.
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
        return self.predict_decoded([span.file], [self._draw(span)], top)[0]

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
            files = [spans[index].file for index in waiting]
            ended.update(zip(waiting, self.predict_decoded(files, list(waiting.values()), top), strict=True))
            waiting.clear()

        draw = partial(draw_span, spec=self.recogniser.frames, sampling=self.recogniser.sampling())
        count = min(workers or available_cores(), len(spans))
        with Workers(count, nice=_NICE, preload=[decode_span.__module__]) as pool:
            decoded = pool.run_lazily(
                draw, enumerate(spans), ahead=2 * count + self.recogniser.batch_size, timeout_s=timeout_s
            )
            for one in decoded:
                index, span = one.task
                if isinstance(one, Failed):
                    ended[index] = Failure(span.file, _message(span.file, one.error or one.message))
                else:
                    waiting[index] = one.result
                if len(waiting) == self.recogniser.batch_size:
                    predict_waiting()
                while next_index in ended:
                    yield ended.pop(next_index)
                    next_index += 1
        predict_waiting()
        yield from (ended[index] for index in sorted(ended))

    def predict_windows(
        self,
        video: Path | str,
        *,
        window_s: float | None = None,
        stride_s: float | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        top: int = 5,
        workers: int | None = None,
        timeout_s: float = 300.0,
    ) -> Iterator[Prediction]:
        """Predict the sign in each window that slides over a video, which is decoded in worker processes.

        It is decoded in pieces of half a minute, each on a time grid of its own, so it may be of any length.

        Args:
            video: the file.
            window_s: seconds of a window; None: see :attr:`Recogniser.window_s`.
            stride_s: seconds from one window to the next; None: a quarter of the window.
            start_s: of the part that is looked at, see :meth:`predict`.
            end_s: of the part.
            top: how many glosses each prediction has.
            workers: number of processes; None: one per core.
            timeout_s: time limit for decoding one piece.

        Yields:
            A prediction for each window, in the order of time.

        Raises:
            VideoFileError: the file is missing or damaged, or has no frame in the part.
        """
        window_s = window_s or self.recogniser.window_s
        part = Span(Path(video), start_s or 0.0, end_s)
        count = workers or available_cores()
        with Workers(count, nice=_NICE, preload=[decode_span.__module__]) as pool:
            windows = self._windows(part, window_s, stride_s or window_s / 4, pool, timeout_s)
            while together := list(islice(windows, self.recogniser.batch_size)):
                yield from self.predict_decoded([part.file] * len(together), together, top)

    def _windows(
        self, part: Span, window_s: float, stride_s: float, pool: Workers, timeout_s: float
    ) -> Iterator[DecodedSpan]:
        """The windows of a part of a video in the order of time, with drawn frames."""
        first_s = part.start_s or 0.0
        [length] = pool.run_each(video_duration, [part.file], timeout_s=timeout_s)
        if isinstance(length, Failed):
            raise VideoFileError(_message(part.file, length.error or length.message))
        last_s = length.result if part.end_s is None else min(part.end_s, length.result)
        pieces = [
            Span(part.file, first_s + begin_s, part.end_s if end_s is None else first_s + end_s)
            for begin_s, end_s in plan_pieces(max(0.0, last_s - first_s), window_s, stride_s)
        ]
        decode = partial(decode_span, spec=self.recogniser.frames)
        decoded = pool.run_lazily(decode, enumerate(pieces), ahead=pool.count + 1, timeout_s=timeout_s)
        for one in _in_order(decoded):
            index, span = one.task
            if isinstance(one, Failed):
                if index and getattr(one.error, "reason", None) == "empty segment":
                    continue  # the header says more than there is, or a picture stands still for long
                raise VideoFileError(_message(part.file, one.error or one.message))
            piece: DecodedSpan = one.result
            until_s = piece.duration_s
            if index < len(pieces) - 1:
                until_s = min(until_s, span.end_s - span.start_s)
            for begin_s in window_starts(until_s, window_s, stride_s):
                window = piece.part(begin_s, min(window_s, piece.duration_s - begin_s))
                yield window.drawn(self.recogniser.sampling())

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
        video = torch.from_numpy(frames)
        probabilities: npt.NDArray[np.float64] = self.recogniser.probabilities(video).numpy()
        if not np.isfinite(probabilities).all():
            raise NetworkError(
                "the network gives no finite probabilities: the checkpoint is of a training that diverged"
            )
        return probabilities

    def _draw(self, span: Span) -> DecodedSpan:
        """The drawn frames, not resized yet. Raises VideoFileError."""
        try:
            return draw_span((0, span), self.recogniser.frames, self.recogniser.sampling())
        except VideoError as error:
            raise VideoFileError(_message(span.file, error)) from error

    def predict_decoded(
        self, files: Sequence[Path], drawn: Sequence[DecodedSpan], top: int = 5
    ) -> list[Prediction]:
        """Predict decoded parts of videos.

        Args:
            files: their files, for the predictions.
            drawn: with the frames that :meth:`DecodedSpan.drawn` has drawn.
            top: how many glosses each prediction has.

        Raises:
            NetworkError: see :meth:`probabilities`.
        """
        if not drawn:
            return []
        frames = np.stack([self._resized(one.frames) for one in drawn])
        return [
            Prediction(file, one.start_s, one.end_s, rank_glosses(row, self.glosses, top))
            for file, one, row in zip(files, drawn, self.probabilities(frames), strict=True)
        ]

    def _resized(self, frames: Frames) -> Frames:
        return frame_pictures(torch.from_numpy(frames), self.recogniser.framing).numpy()


def _in_order(ended: Iterable[Done[Any, Any] | Failed[Any]]) -> Iterator[Done[Any, Any] | Failed[Any]]:
    """The results of numbered tasks in their order, each as soon as the ones before it have ended."""
    early: dict[int, Done[Any, Any] | Failed[Any]] = {}
    next_index = 0
    for one in ended:
        early[one.task[0]] = one
        while next_index in early:
            yield early.pop(next_index)
            next_index += 1


def _message(file: Path, problem: BaseException | str) -> str:
    """One line that names the file. Errors of decoders are predicates."""
    is_predicate = isinstance(problem, (VideoError, str))
    return f"{file} {problem}" if is_predicate else f"{file}: {type(problem).__name__}: {problem}"
