"""Accuracy on new glosses with and without pretraining on other ones, over seeds.

    python -m benchmarks.transfer [--seeds 5] [--jobs 8] [--epochs 1,2,4,8] [--work DIR] [KEY=VALUE ...]

For each seed, the demo's network is trained on four of its glosses with all their clips, until it knows them
on val. It is then trained on few clips of the other four, which are these played backwards, from random
weights and from those of the first training. Each number of epochs is a training of its own, whose learning
rate falls to 0. All trainings of a seed have the same clips in the same order. Further arguments are keys of
the trainings on the new glosses.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from asl.contract.label_map import read_label_map
from asl.contract.manifest import read_manifest
from benchmarks.demo_runs import (
    ROOT,
    device_name,
    fewer_clips,
    in_processes,
    interval,
    make_demo,
    run_train,
    temporary,
    write_clips,
)

_LONGEST = 8  # times --pretrain-epochs, after which pretraining has failed

SCRATCH = "from scratch"
WAYS: dict[str, tuple[str, ...]] = {
    SCRATCH: (),
    "pretrained": ("model.weights={weights}",),
    "pretrained, layer decay 0.7": ("model.weights={weights}", "optim.layer_decay=0.7"),
}


@dataclass(frozen=True)
class Pretraining:
    """A training on the first glosses, with at least so many epochs and until val has the least accuracy."""

    seed: int
    work: Path
    epochs: int
    least: float

    @property
    def folder(self) -> Path:
        """Its checkpoints."""
        return self.work / "transfer" / f"pretrained{self.seed}"


@dataclass(frozen=True)
class Tuning:
    """A training on the other glosses."""

    pretraining: Pretraining
    way: str
    epochs: int
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """By which its result is kept."""
        return f"{self.way}, {self.epochs} epochs, seed {self.pretraining.seed}"


def manifest_of(work: Path, name: str) -> Path:
    """The manifest of the ``first`` glosses, or of the others for a seed."""
    return work / "transfer" / f"{name}_manifest.csv"


def pretrain(task: Pretraining) -> dict[str, Any]:
    """Train, twice as long each time, until the best epoch is good enough on val.

    Raises:
        RuntimeError: it never is.
    """
    tried: dict[int, float] = {}
    epochs = task.epochs
    while epochs <= _LONGEST * task.epochs:
        with temporary(task.folder.with_suffix(".part")) as folder:
            keys = [f"data.manifest={manifest_of(task.work, 'first')}", f"seed={task.seed}"]
            tried[epochs] = run_train(task.work, folder, *keys, f"trainer.max_epochs={epochs}")["val_top1"]
            if tried[epochs] >= task.least:
                folder.rename(task.folder)
                return {"epochs": epochs, "val_top1": tried[epochs], "tried": tried}
        epochs *= 2
    raise RuntimeError(f"val_top1 is below {task.least} after any number of epochs: {tried}")


def tune(task: Tuning) -> float:
    """Train on the other glosses. Returns the accuracy of the best epoch on test."""
    work, seed = task.pretraining.work, task.pretraining.seed
    manifest = manifest_of(work, f"second{seed}")
    keys = [f"data.manifest={manifest}", f"seed={seed}", f"trainer.max_epochs={task.epochs}"]
    keys.append(f"optim.warmup_epochs={task.epochs / 8}")
    keys += [key.format(weights=task.pretraining.folder / "best.pt") for key in WAYS[task.way]]
    with temporary(work / "transfer" / task.name.replace(", ", "-").replace(" ", "_")) as folder:
        accuracy: float = run_train(work, folder, *keys, *task.keys)["test_top1"]
    return accuracy


def show(results: dict[str, Any], epochs: Sequence[int], seeds: Sequence[int], console: Console) -> None:
    """Print accuracies and differences to training from scratch."""
    clips = results["train_clips"]
    title = f"top-1 on test, four glosses, {clips} training clips each, mean and 95 % interval over seeds"
    table = Table("epochs", title=title, title_justify="left")
    for way in WAYS:
        table.add_column(way, justify="right")
        if way != SCRATCH:
            table.add_column("difference", justify="right")
    for number in epochs:
        cells: list[str] = []
        for way in WAYS:
            pairs = [
                tuple(results["runs"].get(f"{one}, {number} epochs, seed {seed}") for one in (way, SCRATCH))
                for seed in seeds
            ]
            done = [(one, scratch) for one, scratch in pairs if one is not None and scratch is not None]
            cells.append(interval([one for one, _ in done]) if done else "")
            if way != SCRATCH:
                cells.append(interval([one - scratch for one, scratch in done]) if done else "")
        table.add_row(f"{number}", *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=8, help="trainings side by side")
    parser.add_argument("--pretrain-epochs", type=int, default=40)
    parser.add_argument("--pretrain-top1", type=float, default=0.9, help="least on val; else twice as long")
    parser.add_argument("--epochs", default="1,2,4,8,16,32,64", help="of the trainings on new glosses")
    parser.add_argument("--train-clips", type=int, default=8, help="of each new gloss")
    parser.add_argument("--work", type=Path, help="the demo, made here if it is not there, and kept")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/transfer.json")
    parser.add_argument("keys", nargs="*", help="of train.py, such as optim.lr=0.003")
    args = parser.parse_args()
    results: dict[str, Any] = {"device": device_name(), "keys": args.keys, "train_clips": args.train_clips}
    results |= {"pretrained": {}, "runs": {}}
    numbers = [int(number) for number in args.epochs.split(",")]
    console = Console(width=None if sys.stdout.isatty() else 160)
    args.json.parent.mkdir(parents=True, exist_ok=True)

    def save(part: str, name: str, value: object) -> None:
        results[part][name] = value
        args.json.write_text(json.dumps(results, indent=1))

    with tempfile.TemporaryDirectory() as created:
        work = (args.work or Path(created)).resolve()
        shutil.rmtree(work / "transfer", ignore_errors=True)  # of an earlier run with --work
        clips = read_manifest(make_demo(work))
        glosses = read_label_map(work / "metadata" / "demo_label_map.json")
        first, second = glosses[::2], glosses[1::2]
        write_clips(manifest_of(work, "first"), clips, first)
        begin = (work, args.pretrain_epochs, args.pretrain_top1)
        pretrainings = [Pretraining(seed, *begin) for seed in range(args.seeds)]
        for one in pretrainings:
            few = fewer_clips(clips, args.train_clips, one.seed)
            write_clips(manifest_of(work, f"second{one.seed}"), few, second)
        usable: list[Pretraining] = []
        for done, made in in_processes(pretrain, pretrainings, jobs=args.jobs, title="pretraining"):
            usable.append(done)
            save("pretrained", f"{done.seed}", made)
            reached = f"{made['val_top1']:.1%} on val of the first glosses after {made['epochs']} epochs"
            console.print(f"seed {done.seed}: {reached}; best by number of epochs: {made['tried']}")
        tasks = [
            Tuning(one, way, number, tuple(args.keys)) for one in usable for way in WAYS for number in numbers
        ]
        for task, accuracy in in_processes(tune, tasks, jobs=args.jobs, title="new glosses"):
            save("runs", task.name, accuracy)
    show(results, numbers, range(args.seeds), console)


if __name__ == "__main__":
    main()
