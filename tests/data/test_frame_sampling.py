"""Drawing frames: number, range, order and coverage; determinism of evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.contract.time_grid import grid_length
from asl.data.sampling import (
    SampledView,
    Sampling,
    Tempo,
    draw_frames,
    draw_speed,
    drop_and_repeat,
    grid_positions,
    shift_ends,
)

samplings = st.builds(
    Sampling,
    fps=st.sampled_from([25.0, 12.5, None]),
    clip_len=st.integers(1, 40),
    frame_stride=st.integers(1, 5),
    pad=st.sampled_from(["edge", "loop"]),
    long=st.sampled_from(["uniform", "window"]),
)
lengths = st.integers(1, 300)
seeds = st.one_of(st.none(), st.integers(0, 2**32))


def rng_of(seed: int | None) -> np.random.Generator | None:
    return None if seed is None else np.random.default_rng(seed)


@given(length=lengths, sampling=samplings, seed=seeds)
def test_positions_have_the_right_number_and_are_inside_the_clip(
    length: int, sampling: Sampling, seed: int | None
) -> None:
    positions = grid_positions(length, sampling, rng_of(seed))
    assert positions.shape == (sampling.clip_len,)
    assert positions.min() >= 0
    assert positions.max() < length


@given(length=lengths, sampling=samplings, seed=seeds)
def test_positions_do_not_decrease_except_where_a_loop_starts_over(
    length: int, sampling: Sampling, seed: int | None
) -> None:
    steps = np.diff(grid_positions(length, sampling, rng_of(seed)))
    if sampling.pad == "loop" and length < sampling.window:
        assert all((step == sampling.frame_stride) or (step % length == sampling.frame_stride % length)
                   for step in steps)  # fmt: skip
    else:
        assert (steps >= 0).all()


@given(length=lengths, sampling=samplings)
def test_evaluation_is_deterministic(length: int, sampling: Sampling) -> None:
    assert np.array_equal(grid_positions(length, sampling), grid_positions(length, sampling))


@given(length=lengths, sampling=samplings, seed=st.integers(0, 2**32))
def test_jitter_depends_only_on_the_seed(length: int, sampling: Sampling, seed: int) -> None:
    first = grid_positions(length, sampling, np.random.default_rng(seed))
    assert np.array_equal(first, grid_positions(length, sampling, np.random.default_rng(seed)))


@given(length=st.integers(1, 120), sampling=samplings)
def test_training_can_draw_the_first_and_the_last_frame(length: int, sampling: Sampling) -> None:
    rng = np.random.default_rng(0)
    drawn = [grid_positions(length, sampling, rng) for _ in range(600)]
    starts, ends = {int(d[0]) for d in drawn}, {int(d.max()) for d in drawn}
    if length < sampling.window or sampling.long == "window":
        assert 0 in starts
        assert length - 1 in ends
    else:  # one frame of each part; the first and the last part hold the first and the last frame
        assert min(starts) < -(-length // sampling.clip_len)
        assert max(ends) >= length - -(-length // sampling.clip_len)


@given(extra=st.integers(0, 200), sampling=samplings)
def test_the_evaluation_window_is_centred(extra: int, sampling: Sampling) -> None:
    length = sampling.window + extra
    positions = grid_positions(length, Sampling(**{**vars(sampling), "long": "window"}))
    before, after = int(positions[0]), length - 1 - int(positions[-1])
    assert 0 <= after - before <= 1


@pytest.mark.parametrize(
    ("length", "choice", "expected"),
    [
        (5, {"pad": "edge"}, [0, 2, 4, 4]),
        (5, {"pad": "loop"}, [0, 2, 4, 1]),
        (12, {"long": "uniform"}, [1, 4, 7, 10]),
        (12, {"long": "window"}, [2, 4, 6, 8]),
        (7, {}, [0, 2, 4, 6]),
        (1, {"pad": "loop"}, [0, 0, 0, 0]),
    ],
)
def test_examples_of_the_docstring(length: int, choice: dict[str, str], expected: list[int]) -> None:
    sampling = Sampling(clip_len=4, frame_stride=2, **choice)  # type: ignore[arg-type]
    assert grid_positions(length, sampling).tolist() == expected


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="length=0"):
        grid_positions(0, Sampling())


@pytest.mark.parametrize(("clip_len", "stride", "window"), [(32, 2, 63), (4, 3, 10), (2, 3, 4), (1, 5, 1)])
def test_the_window_spans_the_grid_points_from_the_first_to_the_last_drawn(
    clip_len: int, stride: int, window: int
) -> None:
    assert Sampling(clip_len=clip_len, frame_stride=stride).window == window


@pytest.mark.parametrize(
    ("length", "stride", "speed", "last_start"),
    [
        (1, 2, 1.0, 0),  # too short to be moved at all
        (2, 2, 1.0, 1),
        (5, 2, 1.0, 1),  # too short for the window: moved by less than a stride
        (9, 3, 1.0, 2),
        (9, 3, 0.5, 4),  # 0 1 3 4 fits into the clip, 4 5 7 8 does, too
        (10, 3, 1.0, 0),  # the window itself
        (12, 3, 1.0, 2),
    ],
)
def test_jitter_moves_the_window_by_every_distance_that_is_allowed(
    length: int, stride: int, speed: float, last_start: int
) -> None:
    sampling, rng = Sampling(clip_len=4, frame_stride=stride, long="window"), np.random.default_rng(0)
    starts = {int(grid_positions(length, sampling, rng, speed=speed)[0]) for _ in range(200)}
    assert starts == set(range(last_start + 1))


class AlmostOne(np.random.Generator):
    """Draws the largest number below 1."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, size: int | None = None) -> object:  # type: ignore[override]
        largest = np.nextafter(1.0, 0.0)
        return largest if size is None else np.full(size, largest)


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.0])
def test_rounding_never_leads_out_of_the_clip_or_back_to_its_beginning(speed: float) -> None:
    sampling = Sampling(clip_len=4, frame_stride=2, pad="loop")
    assert grid_positions(12, sampling, AlmostOne(), speed=speed)[-1] == 11


@pytest.mark.parametrize("fps", [15.0, 23.976, 25.0, 29.97, 30.0, 50.0, 59.94])
def test_the_frame_rate_of_the_file_does_not_change_the_moments_drawn(fps: float) -> None:
    duration_s = 3.0
    starts = np.arange(int(duration_s * fps)) / fps
    indices = draw_frames(starts, duration_s, Sampling())
    reference = draw_frames(np.arange(75) / 25, duration_s, Sampling())
    assert np.abs(starts[indices] - reference / 25).max() <= 1 / fps + 1e-6


def test_a_varying_frame_rate_does_not_change_the_moments_drawn() -> None:
    gaps = np.random.default_rng(1).uniform(0.01, 0.08, size=60)
    starts = np.concatenate([[0.0], np.cumsum(gaps)])
    duration_s = float(starts[-1]) + 0.04
    indices = draw_frames(starts, duration_s, Sampling(clip_len=8, frame_stride=1))
    times = grid_positions(grid_length(duration_s, 25.0), Sampling(clip_len=8, frame_stride=1)) / 25
    ends = np.append(starts[1:], duration_s)
    assert (starts[indices] <= times + 1e-3).all()
    assert (times < ends[indices]).all()


def test_native_frames_are_drawn_by_index() -> None:
    uneven = [0.0, 1.0, 1.01, 5.0]
    assert draw_frames(uneven, 9.0, Sampling(fps=None, clip_len=4, frame_stride=1)).tolist() == [0, 1, 2, 3]


speeds = st.floats(0.5, 2.0)


@given(length=lengths, sampling=samplings, seed=seeds, speed=speeds)
def test_at_any_speed_positions_are_inside_the_clip_and_in_order(
    length: int, sampling: Sampling, seed: int | None, speed: float
) -> None:
    positions = grid_positions(length, sampling, rng_of(seed), speed=speed)
    assert positions.shape == (sampling.clip_len,)
    assert positions.min() >= 0
    assert positions.max() < length
    if sampling.pad == "edge":
        assert (np.diff(positions) >= 0).all()


@given(length=lengths, sampling=samplings, seed=st.integers(0, 2**32), speed=speeds)
def test_the_covered_length_is_proportional_to_the_speed(
    length: int, sampling: Sampling, seed: int, speed: float
) -> None:
    positions = grid_positions(length, sampling, rng_of(seed), speed=speed)
    usual = length if length >= sampling.window and sampling.long == "uniform" else sampling.window
    assert positions.max() - positions.min() <= usual * speed + 1
    if sampling.pad == "edge" and sampling.clip_len > 1 and length >= usual * speed + sampling.frame_stride:
        step = usual * speed / sampling.clip_len  # jitter may shorten it by this at each end
        assert positions[-1] - positions[0] >= usual * speed - 2 * step - 2


@given(length=lengths, sampling=samplings, seed=seeds)
def test_speed_one_draws_no_random_number(length: int, sampling: Sampling, seed: int | None) -> None:
    starts = np.arange(length) / 25
    usual = draw_frames(starts, length / 25, sampling, rng_of(seed))
    assert np.array_equal(
        draw_frames(starts, length / 25, sampling, rng_of(seed), tempo=Tempo(speed=[1.0, 1.0])), usual
    )


@given(low=st.floats(0.5, 1.0), high=st.floats(1.0, 2.0), seed=st.integers(0, 2**32))
def test_speeds_are_within_their_range(low: float, high: float, seed: int) -> None:
    speed = draw_speed((low, high), np.random.default_rng(seed))
    assert low - 1e-9 <= speed <= high + 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_speeds_are_uniform_in_their_logarithm(seed: int) -> None:
    expected = 0.5 * 4 ** np.random.default_rng(seed).random()
    assert draw_speed((0.5, 2.0), np.random.default_rng(seed)) == pytest.approx(expected)


def test_a_fast_clip_starts_over_with_loop() -> None:
    sampling = Sampling(clip_len=4, frame_stride=2, pad="loop")
    assert grid_positions(12, sampling, speed=1.5).tolist() == [2, 6, 11, 3]


def test_examples_of_the_docstring_with_speed() -> None:
    sampling = Sampling(clip_len=4, frame_stride=2)
    assert grid_positions(12, sampling, speed=0.5).tolist() == [3, 5, 6, 8]
    assert grid_positions(12, sampling, speed=1.5).tolist() == [2, 6, 11, 11]


def views_of(length: int, num_views: int, **sampling: object) -> list[list[int]]:
    """The positions of each view, with ``clip_len=4`` and ``frame_stride=2`` if not given."""
    keys = {"clip_len": 4, "frame_stride": 2, **sampling, "num_views": num_views}
    return [grid_positions(length, SampledView(view=view, **keys)).tolist() for view in range(num_views)]


def test_views_of_a_long_clip_go_from_its_start_to_its_end() -> None:
    assert views_of(12, 3, long="window") == [[0, 2, 4, 6], [2, 4, 6, 8], [5, 7, 9, 11]]
    assert views_of(12, 3, long="uniform") == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_views_of_a_short_clip_start_where_training_starts() -> None:
    assert views_of(5, 2) == [[0, 2, 4, 4], [1, 3, 4, 4]]
    assert views_of(1, 3) == [[0, 0, 0, 0]] * 3


@given(length=lengths, sampling=samplings)
def test_a_single_view_is_that_of_validation(length: int, sampling: Sampling) -> None:
    alone = grid_positions(length, SampledView(**vars(sampling)))
    assert np.array_equal(alone, grid_positions(length, sampling))


@given(length=lengths, sampling=samplings, half=st.integers(1, 4))
def test_one_view_of_an_odd_number_is_that_of_validation(length: int, sampling: Sampling, half: int) -> None:
    several = SampledView(
        **vars(sampling), num_views=2 * half + 1, view=0 if length < sampling.window else half
    )
    assert np.array_equal(grid_positions(length, several), grid_positions(length, sampling))


class Drawing:
    """A random number generator that draws given numbers."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = np.array(numbers)

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        return self.numbers

    def random(self, size: int) -> np.ndarray:
        return self.numbers


def test_ends_are_shifted_as_documented() -> None:
    positions = np.array([0, 3, 6, 9])
    assert shift_ends(positions, 10, 0.2, Drawing(0.2, 0.2)).tolist() == [2, 5, 8, 9]
    assert shift_ends(positions, 10, 0.2, Drawing(-0.2, 0.0)).tolist() == [0, 1, 5, 8]
    assert shift_ends(positions, 10, 0.2, Drawing(0.0, 0.0)).tolist() == [0, 3, 6, 9]


def test_frames_are_dropped_and_repeated_as_documented() -> None:
    positions = np.array([0, 2, 4, 6, 8])
    middle, low, high = 0.5, 0.05, 0.95
    assert drop_and_repeat(positions, 0.2, Drawing(middle, low, middle, middle)).tolist() == [0, 2, 2, 4, 6]
    assert drop_and_repeat(positions, 0.2, Drawing(middle, high, middle, middle)).tolist() == [0, 2, 6, 8, 8]
    assert drop_and_repeat(positions, 0.2, Drawing(*[middle] * 4)).tolist() == [0, 2, 4, 6, 8]


def test_the_share_of_dropped_and_of_repeated_frames_is_half_of_what_is_asked_for() -> None:
    steps = np.diff(drop_and_repeat(np.arange(100_000), 0.3, np.random.default_rng(0))[:80_000])
    assert (steps == 0).mean() == pytest.approx(0.15, abs=0.01)
    assert (steps == 2).mean() == pytest.approx(0.15, abs=0.01)
    assert set(steps) == {0, 1, 2}


@given(length=lengths, sampling=samplings, seed=seeds, shift=st.floats(0, 0.4), drop=st.floats(0, 1))
def test_shifted_dropped_and_repeated_frames_are_of_the_clip(
    length: int, sampling: Sampling, seed: int | None, shift: float, drop: float
) -> None:
    starts, tempo = np.arange(length) / 25, Tempo(shift=shift, drop=drop)
    drawn = draw_frames(starts, length / 25, sampling, rng_of(seed), tempo=tempo)
    assert drawn.shape == (sampling.clip_len,)
    assert drawn.min() >= 0
    assert drawn.max() < length
    if seed is None:  # evaluation
        assert np.array_equal(drawn, draw_frames(starts, length / 25, sampling))
    if sampling.pad == "edge":
        assert (np.diff(drawn) >= 0).all()
