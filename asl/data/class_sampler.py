"""In which order clips are drawn: one list for a (seed, epoch), of which each rank takes its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One clip to read. It travels to whichever worker reads it, so the worker needs no state."""

    clip: int  # its place in the data set
    entropy: tuple[int, ...] | None = None  # seeds its jitter and augmentation; None: evaluation
    valid: bool = True  # False: only there so that all ranks make the same number of steps


def class_weights(labels: Sequence[int]) -> npt.NDArray[np.float64]:
    """The chance of each clip to be drawn: 1 / (clips of its class), scaled to sum to 1.

    # labels 0 0 0 1 -> 1/6 1/6 1/6 1/2
    """
    frequency = Counter(labels)
    weights = np.array([1 / frequency[label] for label in labels], dtype=np.float64)
    return weights / weights.sum()


class TrainSampler(Sampler[Draw]):
    """Clips of one epoch, ``ceil(clips / ranks)`` for each rank.

    Balanced: drawn with replacement by :func:`class_weights`. Otherwise: a permutation, begun again
    where the number of ranks does not divide it.

    Lightning calls ``set_epoch`` before each epoch, also before the first one after a resume; the
    order is a function of (seed, epoch) alone, so a resumed run goes on as it would have.
    """

    def __init__(
        self, labels: Sequence[int], *, balance: bool, seed: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        self._weights = class_weights(labels) if balance else None
        self._num_clips = len(labels)
        self._seed, self._rank, self._num_ranks = seed, rank, num_ranks
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._num_clips // self._num_ranks)

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng([self._seed, self._epoch])
        total = len(self) * self._num_ranks
        if self._weights is None:
            order = np.resize(rng.permutation(self._num_clips), total)
        else:
            order = rng.choice(self._num_clips, size=total, p=self._weights)
        for place in range(self._rank, total, self._num_ranks):
            # From 1: numpy takes (seed, epoch) for (seed, epoch, 0), and that one drew the order.
            yield Draw(int(order[place]), entropy=(self._seed, self._epoch, place + 1))


class EvaluationSampler(Sampler[Draw]):
    """Every clip once over all ranks, in order.

    All ranks must make the same number of steps, so the shorter ones repeat a clip that is marked as
    not valid.
    """

    def __init__(self, num_clips: int, *, rank: int = 0, num_ranks: int = 1) -> None:
        self._num_clips, self._rank, self._num_ranks = num_clips, rank, num_ranks

    def __len__(self) -> int:
        return -(-self._num_clips // self._num_ranks)

    def __iter__(self) -> Iterator[Draw]:
        for place in range(self._rank, len(self) * self._num_ranks, self._num_ranks):
            yield Draw(place % self._num_clips, valid=place < self._num_clips)
