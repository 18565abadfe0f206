"""Glosses as motions, and the signers who perform them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.demo import GLOSSES, Gloss
from asl.demo.glosses import MOTIONS, angle, hand_position
from asl.demo.signer import Performance, hands_at, make_signer, render_frame

PROGRESS = st.floats(0, 1)
GLOSS = st.sampled_from(GLOSSES)


@given(GLOSS, PROGRESS)
def test_played_backwards_a_gloss_is_its_partner(gloss: Gloss, progress: float) -> None:
    partner = gloss.backwards()
    assert partner in GLOSSES
    assert partner != gloss
    assert partner.backwards() == gloss
    assert hand_position(gloss, 1 - progress) == pytest.approx(hand_position(partner, progress), abs=1e-9)


@given(GLOSS, PROGRESS)
def test_mirrored_a_gloss_is_that_of_the_other_hand(gloss: Gloss, progress: float) -> None:
    partner = gloss.mirrored()
    assert partner in GLOSSES
    assert (partner.hand != gloss.hand, partner.motion) == (True, gloss.motion)
    x, y = hand_position(gloss, progress)
    assert hand_position(partner, progress) == pytest.approx((-x, y))


@pytest.mark.parametrize("motion", MOTIONS)
def test_all_motions_visit_every_part_of_the_circle_equally_often(motion: str) -> None:
    # Sampled evenly in time, each of 8 sectors of the circle holds an eighth of the positions.
    progress = (np.arange(4000) + 0.5) / 4000
    angles = np.array([angle(motion, share) for share in progress]) % (2 * math.pi)
    assert np.bincount((angles / (2 * math.pi) * 8).astype(int), minlength=8).tolist() == [500] * 8


def test_no_two_motions_follow_the_same_path() -> None:
    paths = {tuple(round(angle(motion, step / 16), 6) for step in range(17)) for motion in MOTIONS}
    assert len(paths) == len(MOTIONS) == 4
    assert len(set(GLOSSES)) == 8


@pytest.mark.parametrize("gloss", GLOSSES, ids=lambda gloss: gloss.name)
@pytest.mark.parametrize("signer_id", [0, 2], ids=["right-handed", "left-handed"])
def test_only_the_hand_of_the_gloss_moves_and_it_comes_back_to_rest(gloss: Gloss, signer_id: int) -> None:
    signer = make_signer(signer_id, seed=0)
    assert signer.left_handed == (signer_id == 2)
    performance = Performance(
        gloss, 0.5, 2.0, centre=(0, 0), radius=0.17, unevenness=0.2, unevenness_phase=1.0
    )
    times = np.arange(0, 3, 0.04)
    positions = {
        hand: np.array([hands_at(signer, (performance,), time)[hand] for time in times])
        for hand in ("right", "left")
    }
    moved = {hand: np.abs(path - path[0]).max() for hand, path in positions.items()}
    other = "left" if gloss.hand == "right" else "right"
    assert moved[gloss.hand] > 0.3
    assert moved[other] < 0.02
    assert np.abs(positions[gloss.hand][-1] - positions[gloss.hand][0]).max() < 0.02
    assert np.abs(np.diff(positions[gloss.hand], axis=0)).max() < 0.15, "the hand jumps"


def test_hands_are_the_brightest_part_of_every_signer() -> None:
    for signer_id in range(40):
        signer = make_signer(signer_id, seed=0)
        assert sum(signer.skin) > 1.6 * max(sum(signer.clothes), sum(signer.background))


def test_a_picture_depends_on_nothing_but_its_arguments() -> None:
    signer = make_signer(3, seed=0)
    picture = render_frame(signer, (), 0.5, 7, 144, 108)
    assert picture.shape == (108, 144, 3)
    assert picture.dtype == np.uint8
    assert (picture == render_frame(make_signer(3, seed=0), (), 0.5, 7, 144, 108)).all()
