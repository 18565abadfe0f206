"""Makes the demo: plans it, renders and encodes raw files in several processes, writes the metadata."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from asl.demo import metadata
from asl.demo.plan import Planner
from asl.demo.raw_files import RawFile, read_times, write_raw_file
from asl.demo.special_cases import (
    add_formats,
    add_questionable_clips,
    add_rows_without_clip,
    add_series,
    add_shared_sources,
)
from asl.errors import UserError
from asl.files import atomic_write_text
from asl.machine import worker_context

#: A file in the raw folder of a demo, with its recipe. A folder without it holds other videos.
_MARK = "made_by_asl_demo.json"
_VERSION = 2  # increase it whenever the same recipe gives other files


class DemoError(UserError):
    """The demo cannot be made in this folder."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the content of a demo."""

    train_per_gloss: int
    val_per_gloss: int
    test_per_gloss: int
    seed: int
    version: int = _VERSION


@dataclass(frozen=True)
class Demo:
    """A finished demo."""

    data_dir: Path
    num_instances: int
    num_raw_files: int
    clips: dict[str, int]  # number of clips that preprocessing should make, by split
    made: bool  # False if it existed already


def plan_demo(recipe: Recipe) -> Planner:
    """The rows and raw files: all of :mod:`asl.demo.special_cases`, then ordinary clips to fill up."""
    plan = Planner(recipe.seed)
    add_formats(plan)
    add_shared_sources(plan, more=recipe.train_per_gloss // 12)
    add_rows_without_clip(plan)
    add_questionable_clips(plan)
    add_series(plan)
    for split in ("train", "val", "test"):
        plan.fill(split, getattr(recipe, f"{split}_per_gloss"))
    return plan


def make_demo(
    data_dir: Path,
    *,
    train_per_gloss: int = 34,
    val_per_gloss: int = 8,
    test_per_gloss: int = 8,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
) -> Demo:
    """Make ``data_dir/raw`` and ``data_dir/metadata/demo*.json``, unless this demo exists there already.

    The same arguments give the same bytes. Files are written to a temporary folder that is renamed at the
    end: a killed run leaves no demo that looks finished, and the next run starts from the beginning.

    Args:
        data_dir: the folder, created if missing. Other files in it are not touched.
        train_per_gloss: training clips of each gloss; the special cases alone are 5 to 8.
        val_per_gloss: validation clips of each gloss.
        test_per_gloss: test clips of each gloss.
        seed: of all random numbers.
        workers: number of processes; None: one per core.
        overwrite: replace an existing demo.

    Raises:
        DemoError: the folder holds a demo of another recipe, or raw videos that are not a demo's.
    """
    recipe = Recipe(train_per_gloss, val_per_gloss, test_per_gloss, seed)
    raw_dir, metadata_dir = data_dir / "raw", data_dir / "metadata"
    plan = plan_demo(recipe)
    demo = Demo(
        data_dir,
        num_instances=len(plan.rows),
        num_raw_files=len(plan.files),
        clips=dict(Counter(row.split for row in plan.rows if row.outcome == "clip")),
        made=True,
    )
    if _exists(raw_dir, metadata_dir, recipe, overwrite):
        return replace(demo, made=False)

    part = data_dir / ".demo.part"
    shutil.rmtree(part, ignore_errors=True)
    times = dict(_write_all(part, plan.files.values(), workers))
    _write_other_files(part)
    atomic_write_text(part / _MARK, json.dumps(asdict(recipe), indent=1))

    truth_path = metadata_dir / "demo_truth.json"
    truth_path.unlink(missing_ok=True)  # without this file the demo counts as unfinished
    if raw_dir.exists():
        shutil.rmtree(raw_dir)
    part.rename(raw_dir)
    for name, content in (
        ("demo.json", metadata.flat(plan.rows)),
        ("demo_nested.json", metadata.nested(plan.rows)),
        ("demo_lengths.json", metadata.lengths(plan.rows, seed)),
        (truth_path.name, metadata.truth(plan.rows, plan.files, times)),
    ):
        atomic_write_text(metadata_dir / name, json.dumps(content, indent=1))
    return demo


def read_truth(data_dir: Path) -> dict[str, Any]:
    """The expected results of preprocessing a demo, see :func:`asl.demo.metadata.truth`."""
    content: dict[str, Any] = json.loads(
        (data_dir / "metadata" / "demo_truth.json").read_text(encoding="utf-8")
    )
    return content


def _exists(raw_dir: Path, metadata_dir: Path, recipe: Recipe, overwrite: bool) -> bool:
    """Whether this very demo exists. Raises DemoError if the folder holds anything else."""
    if not raw_dir.exists():
        return False
    mark = raw_dir / _MARK
    if not mark.is_file():
        if not any(raw_dir.iterdir()):
            return False
        raise DemoError(
            f"{raw_dir} holds files that are not the demo's. Choose another folder: python -m asl.demo FOLDER"
        )
    if overwrite:
        return False
    found = json.loads(mark.read_text(encoding="utf-8"))
    if found != asdict(recipe):
        differences = _differences(found, asdict(recipe))
        raise DemoError(f"{raw_dir} holds another demo ({differences}). Replace it with --overwrite")
    return (metadata_dir / "demo_truth.json").is_file()


def _differences(found: dict[str, Any], asked: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {found.get(key)} instead of {value}"
        for key, value in asked.items()
        if found.get(key) != value
    )


def _write_all(
    folder: Path, files: Iterable[RawFile], workers: int | None
) -> Iterator[tuple[str, list[Fraction]]]:
    # The long ones first, so that all processes end at about the same time.
    ordered = sorted(files, key=lambda file: -file.duration_s)
    pool = ProcessPoolExecutor(workers, mp_context=worker_context([__name__]), initializer=_end_with_parent)
    try:
        yield from pool.map(_write_one, [(folder, file) for file in ordered], chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, hundreds are queued


def _end_with_parent() -> None:
    """Initialize a worker: it ignores Ctrl-C, which the parent handles, and exits if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def exit_after_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=exit_after_parent, daemon=True).start()


def _write_one(task: tuple[Path, RawFile]) -> tuple[str, list[Fraction]]:
    folder, file = task
    path = folder / file.path
    write_raw_file(file, path)
    return file.path, [] if file.damage else read_times(path)


def _write_other_files(folder: Path) -> None:
    """Write other files that folders of downloads contain and that belong to no row."""
    (folder / "downloads").mkdir(parents=True, exist_ok=True)
    (folder / "downloads" / "failed.txt").write_text(
        "404 http://signlab.example/media/Never%20Downloaded.mp4\n"
    )
    (folder / "downloads" / "goodbye.mp4.part").write_bytes(bytes(1000))
    (folder / "downloads" / "nobody asked.mp4").write_bytes(bytes(1000))
