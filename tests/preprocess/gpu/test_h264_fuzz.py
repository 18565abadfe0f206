"""Damaged slices through the parser under sanitizers: a small run of ``benchmarks/fuzz.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from h264_clips import HostSliceParser

from asl.preprocess.gpu.h264.source import parser_source
from benchmarks.fuzz import (
    SETTINGS,
    Bases,
    NoCompilerError,
    build_program,
    damaged_batch,
    make_bases,
    run_batch,
    sound_batch,
)

pytestmark = pytest.mark.slow

#: Settings that are encoded in a moment.
NAMES = [name for name, setting in SETTINGS.items() if setting.size <= (176, 144)]


@pytest.fixture(scope="module")
def bases() -> Bases:
    return make_bases(NAMES)


def sanitized(folder: Path, source: str | None = None) -> Path:
    """The program; the test is skipped where it cannot be built."""
    try:
        return build_program(folder, sanitize=True, source=source)
    except NoCompilerError as error:
        pytest.skip(str(error))


def test_no_damaged_slice_makes_the_parser_leave_its_memory_or_hang(bases: Bases, tmp_path: Path) -> None:
    program, in_one_go = sanitized(tmp_path), HostSliceParser(tmp_path)
    sound = run_batch(sound_batch(bases), tmp_path, program, in_one_go, sound=True)
    assert sound.errors == []
    damaged = run_batch(damaged_batch(bases, seed=0, number=0, count=800), tmp_path, program, in_one_go)
    assert damaged.errors == []
    assert damaged.slices == 800
    assert len(damaged.reasons) > 35  # of 31 reasons, each with CABAC and CAVLC


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("if (index >= num_words)", "if (index > num_words)", "heap-buffer-overflow"),
        ("\n    s->last_delta_qp = 0;\n    if (p->cabac)", "\n    if (p->cabac)", "nobody has written"),
    ],
    ids=["reads a word too many", "uses memory that nobody has written"],
)
def test_a_wrong_parser_is_found_and_its_slice_is_saved(
    right: str, wrong: str, found: str, bases: Bases, tmp_path: Path
) -> None:
    assert parser_source().count(right) == 1
    program = sanitized(tmp_path, parser_source().replace(right, wrong))
    summary = run_batch(damaged_batch(bases, seed=0, number=100, count=200), tmp_path, program, None)
    (error,) = summary.errors
    assert found in error
    assert (tmp_path / f"slice_{100 + summary.slices}").stat().st_size > 96


def test_the_same_seed_gives_the_same_slices(bases: Bases) -> None:
    whole, rest = damaged_batch(bases, 3, 0, 40), damaged_batch(bases, 3, 30, 10)
    assert whole.part(30, 40) == rest.part(0, 10)
    assert whole.part(0, 10) != rest.part(0, 10)
