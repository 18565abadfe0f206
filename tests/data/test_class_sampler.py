"""Samplers: which clips an epoch draws, in which order, and how ranks share them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.data.class_sampler import Draw, EvaluationSampler, TrainSampler, class_weights

LABELS = [0] * 30 + [1] * 5 + [2]
label_lists = st.lists(st.integers(0, 6), min_size=1, max_size=60)


def test_weights_are_one_over_class_frequency() -> None:
    assert class_weights([0, 0, 0, 1]).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_balanced_epochs_draw_all_classes_equally_often() -> None:
    sampler = TrainSampler(LABELS, balance=True, seed=0)
    drawn: Counter[int] = Counter()
    for epoch in range(200):
        sampler.set_epoch(epoch)
        drawn.update(LABELS[draw.clip_index] for draw in sampler)
    shares = [drawn[label] / sum(drawn.values()) for label in range(3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


@given(labels=label_lists, seed=st.integers(0, 1000), epoch=st.integers(0, 100))
def test_unbalanced_epochs_draw_every_clip_once(labels: list[int], seed: int, epoch: int) -> None:
    sampler = TrainSampler(labels, balance=False, seed=seed)
    sampler.set_epoch(epoch)
    assert sorted(draw.clip_index for draw in sampler) == list(range(len(labels)))


@given(labels=label_lists, balance=st.booleans(), seed=st.integers(0, 99), ranks=st.integers(1, 9))
def test_ranks_together_draw_the_list_of_one_process(
    labels: list[int], balance: bool, seed: int, ranks: int
) -> None:
    alone = list(TrainSampler(labels, balance=balance, seed=seed))
    shares = [
        list(TrainSampler(labels, balance=balance, seed=seed, rank=rank, num_ranks=ranks))
        for rank in range(ranks)
    ]
    assert len({len(share) for share in shares}) == 1
    together = [draw for turn in zip(*shares, strict=True) for draw in turn]
    assert together[: len(alone)] == alone
    assert len(together) - len(alone) < ranks


def test_the_order_depends_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[object]:
        sampler = TrainSampler(LABELS, balance=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_every_draw_has_its_own_entropy() -> None:
    sampler = TrainSampler(LABELS, balance=True, seed=0)
    seen = set()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        seen.update(draw.entropy for draw in sampler)
    assert len(seen) == 3 * len(LABELS)


def test_no_clips_random_numbers_are_those_that_drew_the_order() -> None:
    draws = list(TrainSampler([0, 0, 0], balance=False, seed=5))
    assert [draw.entropy for draw in draws] == [(5, 0, 1), (5, 0, 2), (5, 0, 3)]
    assert all(draw.valid for draw in draws)
    order = np.random.default_rng([5, 0]).random()
    assert all(np.random.default_rng(draw.entropy).random() != order for draw in draws)


def test_one_process_evaluates_all_clips_in_order() -> None:
    assert list(EvaluationSampler(3)) == [Draw(0), Draw(1), Draw(2)]


@given(num_clips=st.integers(1, 50), ranks=st.integers(1, 9))
def test_over_all_ranks_every_evaluation_clip_is_valid_once(num_clips: int, ranks: int) -> None:
    shares = [list(EvaluationSampler(num_clips, rank=rank, num_ranks=ranks)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1  # or one rank would wait forever for another
    valid = [draw.clip_index for share in shares for draw in share if draw.valid]
    assert sorted(valid) == list(range(num_clips))
    assert all(draw.entropy is None for share in shares for draw in share)
