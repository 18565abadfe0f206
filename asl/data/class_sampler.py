"""Samplers: the order in which clips are drawn, and how ranks share it.

For each (seed, epoch) there is one list of draws. Rank ``r`` of ``n`` gets items ``r``, ``r + n``, ...

The samplers derive from ``DistributedSampler`` because a Lightning Trainer on several devices wraps every
other sampler in one, which would divide the list among the ranks a second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset, DistributedSampler


class Draw(NamedTuple):
    """One item that a sampler yields: a clip to read, and the seed of its random numbers."""

    clip_index: int  # position of the clip in its split
    entropy: tuple[int, ...] | None = None  # seeds jitter and augmentation; None in evaluation
    valid: bool = True  # False if the clip only fills up a rank's list; metrics ignore it


def class_weights(labels: Sequence[int]) -> npt.NDArray[np.float64]:
    """Probability of each clip to be drawn: proportional to 1 / (number of clips of its class).

    # labels 0 0 0 1 -> 1/6 1/6 1/6 1/2

    Args:
        labels: ``(N,)`` class indices.

    Returns:
        ``(N,)`` float64 that sum to 1.
    """
    frequency = Counter(labels)
    weights = np.array([1 / frequency[label] for label in labels], dtype=np.float64)
    return weights / weights.sum()


class TrainSampler(DistributedSampler[Draw]):
    """Draws the training clips of one epoch, ``ceil(clips / ranks)`` for each rank.

    The order depends only on (seed, epoch), so a resumed run draws the same clips as an uninterrupted one.
    Lightning calls ``set_epoch`` before each epoch, also before the first epoch after a resume.

    Args:
        labels: class index of each clip.
        balance: draw with replacement, with the probabilities of :func:`class_weights`. If False, draw a
            permutation; if the number of ranks does not divide it, its beginning is repeated.
        seed: of the order and of the entropy of each draw.
        rank: index of this process.
        num_ranks: number of processes that train together.
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
            # Positions count from 1: numpy treats the seeds (seed, epoch) and (seed, epoch, 0) as equal,
            # and the first one has drawn the order.
            yield Draw(int(order[position]), entropy=(self.seed, self.epoch, position + 1))


class EvaluationSampler(DistributedSampler[Draw]):
    """Yields every clip once over all ranks, in the order of the split.

    All ranks must make the same number of steps. If the number of ranks does not divide ``num_clips``, some
    ranks repeat a clip at the end, with ``valid=False``.

    Args:
        num_clips: clips in the split.
        rank: index of this process.
        num_ranks: number of processes that evaluate together.
    """

    def __init__(self, num_clips: int, *, rank: int = 0, num_ranks: int = 1) -> None:
        super().__init__(_Indices(num_clips), num_ranks, rank, shuffle=False)
        self._num_clips = num_clips

    def __iter__(self) -> Iterator[Draw]:
        for position in range(self.rank, self.total_size, self.num_replicas):
            yield Draw(position % self._num_clips, valid=position < self._num_clips)


class _Indices(Dataset[Draw]):
    """A data set with a length only, for the constructor of DistributedSampler."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count
