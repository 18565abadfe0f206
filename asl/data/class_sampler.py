"""The order in which clips are drawn: one list for each (seed, epoch), of which each rank has a share.

The samplers are subclasses of ``DistributedSampler``, because Lightning replaces every other sampler when a
Trainer runs on several devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset, DistributedSampler


class Draw(NamedTuple):
    """One clip to read, with all that the worker that reads it must know."""

    clip_index: int  # in the data set
    entropy: tuple[int, ...] | None = None  # seeds its jitter and augmentation; None: evaluation
    valid: bool = True  # False: repeated so that all ranks make the same number of steps; not measured


def class_weights(labels: Sequence[int]) -> npt.NDArray[np.float64]:
    """The chance of each clip to be drawn: 1 / (clips of its class), scaled to sum to 1.

    # labels 0 0 0 1 -> 1/6 1/6 1/6 1/2
    """
    frequency = Counter(labels)
    weights = np.array([1 / frequency[label] for label in labels], dtype=np.float64)
    return weights / weights.sum()


class TrainSampler(DistributedSampler[Draw]):
    """The training clips of one epoch, ``ceil(clips / ranks)`` for each rank.

    Balanced: drawn with replacement by :func:`class_weights`. Otherwise a permutation, whose beginning is
    repeated if the number of ranks does not divide it.

    Lightning calls ``set_epoch`` before each epoch, also before the first one after a resume. The order
    depends on (seed, epoch) alone, so a resumed run draws what the uninterrupted one would have drawn.
    """

    def __init__(
        self, labels: Sequence[int], *, balance: bool, seed: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        super().__init__(_Indices(len(labels)), num_ranks, rank, seed=seed)
        self._weights = class_weights(labels) if balance else None
        self._num_clips = len(labels)

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng([self.seed, self.epoch])
        if self._weights is None:
            order = np.resize(rng.permutation(self._num_clips), self.total_size)
        else:
            order = rng.choice(self._num_clips, size=self.total_size, p=self._weights)
        for position in range(self.rank, self.total_size, self.num_replicas):
            # From 1: numpy takes (seed, epoch) for (seed, epoch, 0), which has drawn the order.
            yield Draw(int(order[position]), entropy=(self.seed, self.epoch, position + 1))


class EvaluationSampler(DistributedSampler[Draw]):
    """Every clip once over all ranks, in order.

    All ranks must make the same number of steps, so the shorter ones repeat a clip that is marked as not
    valid.
    """

    def __init__(self, num_clips: int, *, rank: int = 0, num_ranks: int = 1) -> None:
        super().__init__(_Indices(num_clips), num_ranks, rank, shuffle=False)
        self._num_clips = num_clips

    def __iter__(self) -> Iterator[Draw]:
        for position in range(self.rank, self.total_size, self.num_replicas):
            yield Draw(position % self._num_clips, valid=position < self._num_clips)


class _Indices(Dataset[Draw]):
    """What DistributedSampler asks of a data set: its length."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count
