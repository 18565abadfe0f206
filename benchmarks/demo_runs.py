"""Trainings of the demo in several processes, for the benchmarks that compare settings over seeds."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from rich.progress import track
from scipy import stats

from asl.config.compose import checked, register
from asl.contract.label_map import label_map_path, read_or_write_label_map
from asl.contract.manifest import Clip, write_manifest
from asl.machine import available_cores
from asl.training.config import TrainConfig
from asl.training.history import HISTORY
from asl.training.run import train

ROOT = Path(__file__).resolve().parent.parent

Task = TypeVar("Task")
Result = TypeVar("Result")


def make_demo(data: Path, *, short_sides: Sequence[int] = (64,)) -> Path:
    """Make and preprocess the demo at its full size if it is not there. Returns its manifest.

    Args:
        data: folder of the demo.
        short_sides: ``frames.short_side`` of the frames that are stored.
    """
    manifest = data / "metadata" / "demo_manifest.csv"
    stored = [data / "frames" / f"25fps_{side}px" for side in short_sides]
    if manifest.is_file() and all(folder.is_dir() for folder in stored):
        return manifest
    _run("-m", "asl.demo", f"{data}")
    for side in short_sides:
        keys = [f"paths.data_dir={data}", "trim=cpu", f"frames.short_side={side}"]
        _run(f"{ROOT / 'preprocess.py'}", "dataset=demo", *keys)
    return manifest


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def fewer_clips(clips: Iterable[Clip], per_gloss: int, seed: int) -> list[Clip]:
    """The clips with at most ``per_gloss`` training clips of each gloss, drawn with ``seed``."""
    kept, left = [], dict[str, int]()
    clips = list(clips)
    for index in np.random.default_rng(seed).permutation(len(clips)):
        clip = clips[index]
        if clip.split == "train":
            left[clip.gloss] = left.get(clip.gloss, per_gloss) - 1
        if clip.split != "train" or left[clip.gloss] >= 0:
            kept.append(clip)
    return sorted(kept, key=lambda clip: clip.video_id)


def write_clips(manifest: Path, clips: Sequence[Clip], glosses: Sequence[str]) -> None:
    """Write a manifest of the clips of ``glosses``, which are by label, and its label map."""
    label = {gloss: number for number, gloss in enumerate(glosses)}
    chosen = [replace(clip, label=label[clip.gloss]) for clip in clips if clip.gloss in label]
    manifest.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, chosen)
    read_or_write_label_map(label_map_path(manifest), list(glosses))


def run_train(
    data: Path, folder: Path, *overrides: str, callbacks: Sequence[pl.Callback] = ()
) -> dict[str, Any]:
    """Run ``train.py`` on the demo in this process, not compiled; its output goes to ``folder/output.txt``.

    Returns:
        ``metrics.json``, and in ``history`` the columns of ``history.csv`` as lists, and ``seconds``, after
        which each epoch had been measured.
    """
    register(train_schema=TrainConfig)
    keys = ["experiment=demo", f"paths.data_dir={data}", f"paths.checkpoint_dir={folder}", "logger=[]"]
    keys += ["trainer.progress_bar=false", "trainer.compile=off"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = checked(compose("train", overrides=[*keys, *overrides]), TrainConfig)
    folder.mkdir(parents=True)
    clock = _Clock()
    with (folder / "output.txt").open("w") as output, contextlib.redirect_stdout(output):
        metrics = train(config, callbacks=[*callbacks, clock])
    with (folder / HISTORY).open(newline="") as history:
        rows = list(csv.DictReader(history))
    columns = {name: [float(row[name]) for row in rows] for name in rows[0]}
    return {**metrics, "history": {**columns, "seconds": clock.seconds}}


class _Clock(pl.Callback):
    """The seconds from the beginning of training to the end of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begin = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds.append(time.monotonic() - self._begin)


def in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int, title: str
) -> Iterator[tuple[Task, Result]]:
    """Call ``function`` with each task in ``jobs`` processes. Yields tasks and results as they are done.

    A task that fails is told on stderr, and the others go on.
    """
    threads = max(1, available_cores() // jobs)
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin_process, initargs=(threads,)
    ) as pool:
        futures = {pool.submit(_attempt, function, task): task for task in tasks}
        for future in track(as_completed(futures), title, total=len(futures)):
            result, error = future.result()
            if error:
                print(f"{futures[future]}: {error}", file=sys.stderr)
            else:
                yield futures[future], result


def _attempt(function: Callable[[Task], Any], task: Task) -> tuple[Any, str]:
    """What the function returns, and its error as text, because not every exception can leave a process."""
    try:
        return function(task), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _begin_process(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = f"{threads}"
    torch.set_num_threads(threads)


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """A folder that is removed at the end; and at the beginning, if a run that was killed left it."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def interval(values: Sequence[float]) -> str:
    """The mean of accuracies, or of differences of them, with its 95 % interval (Student's t)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1%}"
    margin = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{mean:.1%} ± {margin:.1%}"


def device_name() -> str:
    """The GPU, or ``cpu``."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
