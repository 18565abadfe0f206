"""What a demo holds, before any file is rendered."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from asl.demo import GLOSSES
from asl.demo.make import Recipe, plan_demo
from asl.demo.metadata import frames_of
from asl.demo.plan import FPS, SIGNERS


def test_lengths_are_like_wlasls() -> None:
    rows = [row for row in plan_demo(Recipe(34, 8, 8, seed=0)).rows if row.outcome == "clip"]
    frames = [round(FPS * row.duration_s) for row in rows]
    assert 26 <= min(frames) <= 30
    assert 120 <= max(frames) <= 149
    assert 0.5 <= np.mean(np.array(frames) < 63) <= 0.65


def test_the_default_demo_has_the_same_number_of_clips_of_every_gloss() -> None:
    plan = plan_demo(Recipe(34, 8, 8, seed=0))
    for split, expected in (("train", 34), ("val", 8), ("test", 8)):
        for gloss in GLOSSES:
            rows = [row for row in plan.rows if (row.gloss, row.split, row.outcome) == (gloss, split, "clip")]
            assert len(rows) == expected


def test_some_signers_of_val_and_test_are_never_seen_in_training() -> None:
    plan = plan_demo(Recipe(34, 8, 8, seed=0))
    of = {split: {row.signer_id for row in plan.rows if row.split == split} for split in SIGNERS}
    for split in ("val", "test"):
        assert of[split] - of["train"]
        assert of[split] & of["train"]


def test_frames_of_a_segment_are_those_shown_within_it() -> None:
    times = [i * Fraction(1001, 30000) for i in range(100)]
    # Frames 26 to 50 at 25 fps are the second from 1 s to 2 s: 30 is the first at or after 1 s.
    assert frames_of(26, 50, times) == range(30, 60)
    assert frames_of(1, -1, times) == range(100)
    tiles = [frames_of(1, 27, times), frames_of(28, 60, times), frames_of(61, 75, times)]
    assert [i for tile in tiles for i in tile] == list(range(frames_of(1, 75, times).stop))


def test_another_seed_gives_another_demo() -> None:
    one, other = plan_demo(Recipe(1, 1, 1, seed=0)), plan_demo(Recipe(1, 1, 1, seed=1))
    assert one.files != other.files
