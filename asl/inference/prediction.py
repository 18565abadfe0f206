"""What is predicted for a video, and why nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asl.errors import UserError

#: Glosses with their probabilities, the most probable first.
Ranking = tuple[tuple[str, float], ...]


class VideoFileError(UserError):
    """A video that cannot be predicted. The message names the file."""


@dataclass(frozen=True)
class Prediction:
    """The glosses that a recogniser takes a video, or a part of it, for."""

    file: Path
    start_s: float  # from the file's first frame
    end_s: float
    top: Ranking

    @property
    def gloss(self) -> str:
        """The most probable gloss."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """The probability of :attr:`gloss`."""
        return self.top[0][1]

    def __repr__(self) -> str:
        """A line for the file and one for each gloss."""
        width = max(len(gloss) for gloss, _ in self.top)
        lines = [f"  {gloss:<{width}}  {probability:6.1%}" for gloss, probability in self.top]
        return "\n".join([f"{self.file}, {self.start_s:.2f} to {self.end_s:.2f} s", *lines])


@dataclass(frozen=True)
class Failure:
    """A video without a prediction."""

    file: Path
    message: str  # names the file


def rank_glosses(probabilities: npt.NDArray[np.float64], glosses: Sequence[str], top: int) -> Ranking:
    """The most probable glosses; of glosses with equal probability the one with the lower label is first.

    Args:
        probabilities: ``(num_classes,)``.
        glosses: by label.
        top: how many.

    Raises:
        ValueError: ``top`` is below 1.
    """
    if top < 1:
        raise ValueError(f"top={top}: must be at least 1")
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((glosses[label], round_probability(probabilities[label])) for label in order)


def round_probability(probability: float) -> float:
    """The probability with 7 digits, as all files have it."""
    return float(f"{probability:.7g}")
