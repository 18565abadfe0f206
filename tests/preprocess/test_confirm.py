"""Copies that fingerprints propose are confirmed by pictures that are large enough to show a hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip
from raw_videos import shrink
from rich.progress import Progress

from asl.codecs.video_file import VideoError
from asl.contract.manifest import Clip
from asl.demo.glosses import Gloss
from asl.demo.plan import FPS
from asl.demo.raw_files import Format, RawFile, write_raw_file
from asl.demo.signer import Performance, make_signer
from asl.preprocess.audit.confirm import (
    SAME,
    Comparison,
    Film,
    compare_proposals,
    make_film,
    read_film,
    similarity,
)
from asl.preprocess.clips.proof import file_digest
from asl.workers import Done, Failed

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
    """Runs tasks in this process, all of them, and returns the last one first, or the first one."""

    count = 2

    def __init__(self, *, last_first: bool = True) -> None:
        self.tasks: list[Any] = []
        self.step = -1 if last_first else 1

    def run_lazily(
        self, function: Callable[[Any], Any], tasks: Iterator[Any], **limits: object
    ) -> Iterator[Done[Any, Any] | Failed[Any]]:
        assert limits == {"ahead": 4, "timeout_s": 60}
        self.tasks += tasks
        for task in self.tasks[:: self.step]:
            try:
                yield Done(task, function(task))
            except VideoError as error:
                yield Failed(task, error, str(error), "error")


def compared(files: dict[str, Path], workers: Any) -> list[Comparison]:
    """Comparisons of all pairs."""
    return compare_proposals(
        list(itertools.combinations(sorted(files), 2)),
        clips=rows(files),
        digests={name: file_digest(path) for name, path in files.items()},
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


def test_equal_files_are_copies_and_are_not_decoded(series: dict[str, Path], tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    again.write_bytes(series["chin"].read_bytes())
    workers = InlineWorkers()
    (found,) = compared({"chin": series["chin"], "again": again}, workers)
    assert (found.similarity, found.confirmed, workers.tasks) == (1.0, True, [])
    found, with_mouth, same = compared({"again": again, **{n: series[n] for n in ("chin", "mouth")}}, workers)
    assert found.similarity == 1.0
    assert with_mouth.similarity == same.similarity < SAME
    assert {clip.video_id for _, clip in workers.tasks} == {"again", "mouth"}, "one of equal files is decoded"


def test_a_clip_that_cannot_be_decoded_is_named_and_rejected(series: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(series["chin"].read_bytes()[:-2000])
    found = compared({**series, "bad": bad}, InlineWorkers(last_first=False))
    assert [one for one in found if "bad" not in (one.first, one.second)] == compared(
        series, InlineWorkers()
    ), "the others are compared, in whatever order they are decoded"
    rejected = [one for one in found if "bad" in (one.first, one.second)]
    assert len(rejected) == 3
    for one in rejected:
        assert (one.similarity, one.confirmed) == (None, False)
        assert one.problem.startswith(f"{bad} cannot be compared: ")


def test_a_film_is_of_the_inner_picture_over_the_whole_clip(series: dict[str, Path]) -> None:
    (row,) = rows({"chin": series["chin"]})
    decoded = read_film((series["chin"], row))
    assert decoded.duration_s == pytest.approx(NUM_FRAMES / FPS)
    assert decoded.pictures.shape == (math.ceil(NUM_FRAMES / FPS / 0.04), 48, 48)  # 64 without the margin


class FilmWorkers(InlineWorkers):
    """Returns given films, or a failure where there is none, in the order of the tasks."""

    def __init__(self, films: dict[str, Film]) -> None:
        super().__init__()
        self.films = films

    def run_lazily(self, function: Any, tasks: Iterator[Any], **_: object) -> Iterator[Any]:
        for task in tasks:
            self.tasks.append(task)
            made = self.films.get(task[1].video_id)
            yield Done(task, made) if made else Failed(task, None, "crashed", "crash")


def test_pairs_come_in_their_order_and_clips_are_decoded_by_duration() -> None:
    names, one, other = ("a", "b", "c", "d"), film(25), film(25, backwards=True)
    clips = [
        dataclasses.replace(
            make_clip("train", 0, 1), video_id=name, path=f"{name}.mp4", duration_s=duration_s
        )
        for name, duration_s in zip(names, (2.02, 2.0, 2.0, 1.99), strict=True)
    ]
    workers, progress = FilmWorkers({"a": one, "b": other, "d": one}), Progress(disable=True)
    proposals = [("a", "d"), ("a", "b"), ("b", "c")]
    unproposed = dataclasses.replace(clips[0], video_id="e")
    found = compare_proposals(
        proposals,
        clips=[*clips, unproposed],
        digests={name: name for name in "abcde"},
        data_dir=Path("data"),
        workers=workers,  # type: ignore[arg-type]
        progress=progress,
        timeout_s=60,
    )
    assert [path for path, _ in workers.tasks] == [Path(f"data/{name}.mp4") for name in "dbca"]
    assert found == [
        Comparison("a", "d", 1.0),
        Comparison("a", "b", similarity(one, other)),
        Comparison("b", "c", None, "c.mp4 cannot be compared: crashed"),
    ]
    (bar,) = progress.tasks
    assert (bar.total, bar.completed, bar.visible) == (4, 4, True)


def test_a_film_is_given_up_when_it_was_compared_with_all_others() -> None:
    class Watching(InlineWorkers):
        """Keeps no film, but sees which of those before the last one are still in memory."""

        def run_lazily(self, function: Any, tasks: Iterator[Any], **_: object) -> Iterator[Any]:
            made: list[weakref.ref[Film]] = []
            for task in tasks:
                kept.append([one() is not None for one in made[:-1]])
                decoded = film(25)
                made.append(weakref.ref(decoded))
                yield Done(task, decoded)
                del decoded

    kept: list[list[bool]] = []
    compare_proposals(
        [("a", "b"), ("b", "c"), ("d", "e")],
        clips=rows({name: Path(f"{name}.mp4") for name in "abcde"}),
        digests={name: name for name in "abcde"},
        data_dir=Path(),
        workers=Watching(),  # type: ignore[arg-type]
        progress=Progress(disable=True),
        timeout_s=60,
    )
    assert kept == [[], [], [False], [False, False], [False, False, False]]


def test_both_clips_are_named_if_neither_can_be_decoded_and_without_proposals_there_is_no_bar() -> None:
    clips = rows({"a": Path("a.mp4"), "b": Path("b.mp4")})
    for proposals in ([("a", "b")], []):
        progress = Progress(disable=True)
        found = compare_proposals(
            proposals,
            clips=clips,
            digests={clip.video_id: clip.video_id for clip in clips},
            data_dir=Path(),
            workers=FilmWorkers({}),  # type: ignore[arg-type]
            progress=progress,
            timeout_s=60,
        )
        assert [task.visible for task in progress.tasks] == [bool(proposals)]
        assert [one.problem for one in found] == [
            f"{one}.mp4 cannot be compared: crashed; {other}.mp4 cannot be compared: crashed"
            for one, other in proposals
        ]


@pytest.mark.parametrize(
    ("value", "confirmed"), [(None, False), (0.769, False), (SAME, True), (0.77, True), (1.0, True)]
)
def test_copies_are_those_that_are_similar_enough(value: float | None, confirmed: bool) -> None:
    assert Comparison("a", "b", value).confirmed == confirmed


@pytest.mark.parametrize(
    ("levels", "starts_s", "duration_s", "pictures"),
    [
        ([0, 30, 60, 120], [0, 0.04, 0.08, 0.12], 0.16, [15, 30, 70, 90]),  # half or a third of the time each
        ([0, 100], [0, 0.02], 0.08, [75, 75]),
        ([0, 90, 200], [0, 0.04, 0.16], 0.2, [45, 60, 90, 127, 145]),
        ([7], [0], 0.01, [7]),
    ],
)
def test_a_picture_is_the_mean_of_what_is_displayed_in_three_intervals(
    levels: list[int], starts_s: list[float], duration_s: float, pictures: list[int]
) -> None:
    frames = np.repeat(np.array(levels, np.uint8), 4).reshape(-1, 2, 2)
    made = make_film(frames, np.array(starts_s), duration_s)
    assert made.pictures[:, 0, 0].tolist() == pictures
    assert (made.pictures == made.pictures[:, :1, :1]).all()
    assert made.duration_s == duration_s


@pytest.mark.parametrize(
    ("duration_s", "count"), [(0.01, 1), (0.05, 2), (10.2, 255), (10.24, 256), (30.0, 256)]
)
def test_a_film_has_25_pictures_a_second_and_at_most_256(duration_s: float, count: int) -> None:
    made = make_film(np.zeros((1, 2, 2), np.uint8), np.zeros(1), duration_s)
    assert made.pictures.shape == (count, 2, 2)


def test_between_the_middles_of_two_pictures_pixels_are_interpolated() -> None:
    pictures = np.array([[[0, 9]], [[10, 9]], [[30, 9]], [[40, 9]]], np.uint8)
    times_s = np.array([-1.0, 0.0, 0.25, 0.5, 0.625, 1.0, 1.75, 2.0, 5.0])
    pixels = Film(pictures, 2.0).at(times_s)
    assert pixels[:, 0].tolist() == [0, 0, 0, 5, 7.5, 20, 40, 40, 40]
    assert pixels[:, 1].tolist() == [9] * 9


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


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {"late_s": 0.15}, 0.803),
        ({}, {"speed": 0.85}, 0.82),
        ({}, {"speed": 0.75, "late_s": 0.1}, 0.804),
        ({"speed": 3.0}, {"speed": 3.0, "late_s": 0.13}, 0.691),
        ({"duration_s": 0.16, "speed": 3.0}, {"duration_s": 0.16, "speed": 2.0}, 0.73),
        ({"duration_s": 0.12, "speed": 3.0}, {"duration_s": 0.12, "speed": 2.2}, 0.787),
    ],
)
def test_the_measure_is_the_one_for_which_the_threshold_was_found(
    one: dict[str, float], other: dict[str, float], expected: float
) -> None:
    found = similarity(film(25, **one), film(25, **other))  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=0.002)
    assert found == round(found, 3)


@pytest.mark.parametrize("duration_s", [0.04, 0.3, 30.0])
def test_a_clip_of_any_length_is_like_itself(duration_s: float) -> None:
    one = film(25, duration_s=duration_s, speed=0.8 if duration_s > 1 else 3)
    assert len(one.pictures) <= 256
    assert similarity(one, one) == pytest.approx(1 if duration_s > 0.04 else 0, abs=0.01)
