"""What each part of the recipe gives on the demo: accuracy over seeds, with and without it.

    python -m benchmarks.recipe [--seeds 5] [--jobs 8] [--only PART,...] [--settings full,fewer] [--work DIR]

Each part is the default of ``experiment=demo`` and one more key. With ``full``, all training clips are used,
on which the default reaches 100 %; with ``fewer``, some of each gloss, drawn anew with each seed. Differences
to the default are between runs with the same seed, hence with the same clips. Runs share the device in
``--jobs`` processes, so that seconds are those beside the other runs. Losses on val are with the smoothed
labels of the run. Results are written after each run; ``--resume`` keeps those that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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

DEFAULT = "default"
PARTS = {
    DEFAULT: (),
    "EMA 0.98": ("optim.ema_decay=0.98",),
    "speed": ("augment.speed=[0.8,1.25]",),
    "shift": ("augment.shift=0.1",),
    "drop": ("augment.drop=0.2",),
    "rotation": ("augment.rotation=10",),
    "blur": ("augment.blur=1",),
    "downscale": ("augment.downscale=2",),
    "noise": ("augment.noise=0.1",),
    "blocks": ("augment.blocks=0.1",),
    "erase": ("augment.erase=0.2",),
    "mixup": ("augment.mixup=0.2",),
    "smoothing": ("loss.label_smoothing=0.1",),
}


@dataclass(frozen=True)
class Setting:
    """How much there is to learn from: training clips of each gloss, and epochs."""

    name: str
    train_clips: int | None  # None: all
    epochs: int


@dataclass(frozen=True)
class Run:
    """One training."""

    setting: Setting
    part: str
    seed: int
    work: Path
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """By which its result is kept."""
        return f"{self.setting.name}, {self.part}, {self.seed}"


def run(task: Run) -> dict[str, Any]:
    """Train. Returns what the tables need."""
    folder = task.work / "runs" / task.name.replace(", ", "-").replace(" ", "_")
    with temporary(folder):
        manifest = f"data.manifest={manifest_of(task.work, task.setting, task.seed)}"
        keys = [manifest, f"seed={task.seed}", f"trainer.max_epochs={task.setting.epochs}"]
        made = run_train(task.work, folder, *keys, *PARTS[task.part], *task.keys)
    return {name: made[name] for name in ("val_top1", "test_top1", "history")}


def manifest_of(work: Path, setting: Setting, seed: int) -> Path:
    """The manifest of a setting and seed."""
    return work / "recipe" / f"{setting.name}{seed}_manifest.csv"


def make_manifests(work: Path, settings: Sequence[Setting], seeds: int) -> None:
    """Write the manifests of all settings and seeds."""
    manifest = make_demo(work)
    clips = read_manifest(manifest)
    glosses = read_label_map(work / "metadata" / "demo_label_map.json")
    for setting in settings:
        for seed in range(seeds):
            chosen = clips if setting.train_clips is None else fewer_clips(clips, setting.train_clips, seed)
            write_clips(manifest_of(work, setting, seed), chosen, glosses)


def show(results: dict[str, Any], settings: Sequence[Setting], seeds: int, console: Console) -> None:
    """Print a table for each setting."""
    for setting in settings:
        clips = f"{setting.train_clips or 'all'} training clips a gloss"
        title = f"{clips}, {setting.epochs} epochs, mean ± standard deviation over seeds"
        table = Table(title=title, title_justify="left")
        columns = ["", "runs", "val top-1", "test top-1", "test - default (95 %)", "least val loss"]
        for column in [*columns, "first 100 % on val: runs", "epoch", "seconds", "whole, s"]:
            table.add_column(column, justify="right" if column else "left")
        for part in PARTS:
            found = _of(results, setting, part, seeds)
            if found:
                default = _of(results, setting, DEFAULT, seeds) if part != DEFAULT else {}
                table.add_row(part, *_cells(found, default))
        console.print(table)


def _of(results: dict[str, Any], setting: Setting, part: str, seeds: int) -> dict[int, dict[str, Any]]:
    names = {seed: Run(setting, part, seed, Path(), ()).name for seed in range(seeds)}
    return {seed: results["runs"][name] for seed, name in names.items() if name in results["runs"]}


def _cells(found: dict[int, dict[str, Any]], default: dict[int, dict[str, Any]]) -> list[str]:
    runs = list(found.values())
    paired = [(one, default[seed]) for seed, one in found.items() if seed in default]
    differences = [one["test_top1"] - other["test_top1"] for one, other in paired]
    histories = [one["history"] for one in runs]
    full = [(one, one["val_top1"].index(1.0)) for one in histories if 1.0 in one["val_top1"]]
    return [
        f"{len(runs)}",
        _spread([one["val_top1"] for one in runs]),
        _spread([one["test_top1"] for one in runs]),
        interval(differences) if differences else "",
        _spread([min(one["val_loss"]) for one in histories]),
        f"{len(full)} of {len(runs)}",
        _spread([epoch + 1 for _, epoch in full], 1),
        _spread([one["seconds"][epoch] for one, epoch in full], 1),
        _spread([one["seconds"][-1] for one in histories], 1),
    ]


def _spread(values: Sequence[float], digits: int = 3) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=8, help="trainings side by side")
    parser.add_argument("--settings", default="full,fewer")
    parser.add_argument("--epochs", type=int, default=8, help="of full")
    parser.add_argument("--fewer", type=int, default=6, help="training clips of each gloss in fewer")
    parser.add_argument("--fewer-epochs", type=int, default=48)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--resume", action="store_true", help="keep the runs that the JSON file has")
    parser.add_argument("--work", type=Path, help="the demo, made here if it is not there, and kept")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/recipe.json")
    parser.add_argument("keys", nargs="*", help="of train.py, for all runs, such as model=r2plus1d")
    args = parser.parse_args()
    unknown = {*args.only.split(",")} - {*PARTS}
    if unknown:
        sys.exit(f"error: no part is named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    known = [Setting("full", None, args.epochs), Setting("fewer", args.fewer, args.fewer_epochs)]
    settings = [one for one in known if one.name in args.settings.split(",")]

    decisive = {name: getattr(args, name) for name in ("epochs", "fewer", "fewer_epochs", "jobs", "keys")}
    results: dict[str, Any] = {"device": device_name(), **decisive, "runs": {}}
    if args.resume and args.json.is_file():
        earlier = json.loads(args.json.read_text())
        different = [name for name, value in results.items() if name != "runs" and earlier.get(name) != value]
        if different:
            sys.exit(f"error: {args.json} has runs with another {', '.join(different)}: move it away")
        results["runs"] = earlier["runs"]
    args.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as created:
        work = (args.work or Path(created)).resolve()
        make_manifests(work, settings, args.seeds)
        parts = [part for part in PARTS if part in args.only.split(",")]
        tasks = [
            Run(setting, part, seed, work, tuple(args.keys))
            for seed in range(args.seeds)
            for setting in settings
            for part in parts
        ]
        tasks = [task for task in tasks if task.name not in results["runs"]]
        for task, made in in_processes(run, tasks, jobs=args.jobs, title="trainings"):
            results["runs"][task.name] = made
            args.json.write_text(json.dumps(results, indent=1))
    show(results, settings, args.seeds, Console(width=None if sys.stdout.isatty() else 160))


if __name__ == "__main__":
    main()
