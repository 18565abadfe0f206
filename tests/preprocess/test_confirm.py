"""Copies that fingerprints propose are confirmed by pictures that are large enough to show a hand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip
from raw_videos import shrink
from rich.progress import Progress

from asl.contract.manifest import Clip
from asl.demo.glosses import Gloss
from asl.demo.plan import FPS
from asl.demo.raw_files import Format, RawFile, write_raw_file
from asl.demo.signer import Performance, make_signer
from asl.preprocess.audit.confirm import SAME, Comparison, Film, compare_proposals, make_film, similarity
from asl.workers import Done, Workers

NUM_FRAMES = 81
CHIN, MOUTH = 0.40, 0.345  # heights in the picture of the demo's average signer


def held_at(height: float) -> Performance:
    """The hand goes from rest to a place before the head, stays there, and goes back."""
    return Performance(
        Gloss("right", "circle out"),
        start_s=0.3,
        duration_s=2.6,
        centre=(0.29, height - 0.58),
        radius=0.01,
        unevenness=0.0,
        unevenness_phase=0.0,
    )


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One signer before one wall: the hand at the chin, a bad copy of it, and the hand at the mouth."""
    folder = tmp_path_factory.mktemp("series")
    for name, height in (("chin", CHIN), ("mouth", MOUTH)):
        form = Format(fps=Fraction(FPS), size=(320, 180))
        raw = RawFile(f"{name}.mp4", form, make_signer(1, 0), (held_at(height),), NUM_FRAMES / FPS)
        write_raw_file(raw, folder / raw.path)
    shrink(folder / "chin.mp4", folder / "copy.mp4", crf=35)
    return {path.stem: path for path in folder.iterdir()}


def rows(files: dict[str, Path]) -> list[Clip]:
    return [
        dataclasses.replace(make_clip("train", 0, 1, num_frames=NUM_FRAMES), video_id=name, path=str(path))
        for name, path in files.items()
    ]


class InlineWorkers:
    """Runs tasks in this process, all of them, and returns the last one first."""

    count = 2

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def run_lazily(
        self, function: Callable[[Any], Any], tasks: Iterator[Any], **_: object
    ) -> Iterator[Done[Any, Any]]:
        self.tasks += tasks
        for task in self.tasks[::-1]:
            yield Done(task, function(task))


def compared(files: dict[str, Path], workers: Any) -> list[Comparison]:
    """Comparisons of all pairs."""
    return compare_proposals(
        list(itertools.combinations(sorted(files), 2)),
        clips=rows(files),
        data_dir=Path(),
        workers=workers,
        progress=Progress(disable=True),
        timeout_s=60,
    )


def test_a_hand_at_the_chin_and_at_the_mouth_are_no_copies_and_a_bad_copy_is_one(
    series: dict[str, Path],
) -> None:
    workers = InlineWorkers()
    found = compared(series, workers)
    assert [(one.first, one.second) for one in found if one.confirmed] == [("chin", "copy")]
    for one in found:
        assert one.similarity is not None
        assert abs(one.similarity - SAME) > 0.1, "near the threshold"
    assert len(workers.tasks) == 3, "each clip is decoded once"


def test_a_clip_that_cannot_be_decoded_is_named_and_rejected(series: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(series["chin"].read_bytes()[:-2000])
    with Workers(2) as workers:
        found = compared({**series, "bad": bad}, workers)
    assert [one for one in found if "bad" not in (one.first, one.second)] == compared(
        series, InlineWorkers()
    ), "the others are compared, in whatever order they are decoded"
    rejected = [one for one in found if "bad" in (one.first, one.second)]
    assert len(rejected) == 3
    for one in rejected:
        assert (one.similarity, one.confirmed) == (None, False)
        assert one.problem.startswith(f"{bad} cannot be compared: ")


def film(
    fps: float, *, duration_s: float = 2.0, late_s: float = 0.0, backwards: bool = False, speed: float = 0.8
) -> Film:
    """A blob on a circle, in pictures of 48 pixels; it begins ``late_s`` into the circle."""
    starts_s = np.arange(0, duration_s, 1 / fps)
    angle = 2 * np.pi * speed * (starts_s + late_s) * (-1 if backwards else 1)
    y, x = np.mgrid[0:48, 0:48]
    at_x, at_y = (24 + 12 * wave(angle)[:, None, None] for wave in (np.sin, np.cos))
    frames = 40 + 150 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 20)
    return make_film(frames.astype(np.uint8), starts_s, duration_s)


@pytest.mark.parametrize("fps", [15.0, 23.976, 25.0, 30.0, 60.0])
@pytest.mark.parametrize("late_s", [0.0, 0.04, -0.08])
def test_copies_at_another_rate_and_with_another_first_frame_are_alike(fps: float, late_s: float) -> None:
    assert similarity(film(29.97), film(fps, late_s=late_s)) > 0.9


def test_brightness_and_contrast_do_not_matter() -> None:
    one = film(25)
    dim = Film((one.pictures * 0.6 + 20).astype(np.uint8), one.duration_s)
    assert similarity(one, dim) > 0.99


def test_a_film_in_another_direction_or_half_a_circle_off_is_not_alike() -> None:
    assert similarity(film(25), film(25, backwards=True)) < 0.3
    assert similarity(film(25), film(25, late_s=0.6)) < 0.3


def test_a_difference_at_a_few_moments_counts() -> None:
    one = film(25)
    pictures = one.pictures.copy()
    pictures[20:35] = pictures[20:35, ::-1]  # upside down for 0.6 of 2 s
    assert similarity(one, Film(pictures, one.duration_s)) < 0.5


def test_films_without_movement_are_like_nothing() -> None:
    still = Film(np.full((50, 48, 48), 90, np.uint8), 2.0)
    assert similarity(still, still) == 0
    assert similarity(still, film(25)) == 0


@pytest.mark.parametrize("duration_s", [0.04, 0.3, 30.0])
def test_a_clip_of_any_length_is_like_itself(duration_s: float) -> None:
    one = film(25, duration_s=duration_s, speed=0.8 if duration_s > 1 else 3)
    assert len(one.pictures) <= 256
    assert similarity(one, one) == pytest.approx(1 if duration_s > 0.04 else 0, abs=0.01)
