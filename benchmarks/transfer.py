"""Accuracy after each epoch with and without pretraining on other glosses.

    python -m asl.demo && python preprocess.py dataset=demo
    python -m benchmarks.transfer [--seeds 5 --pretrain-epochs 8 --epochs 4] [key=value ...]

Each seed trains the demo's network on the first four glosses, and then on the other four: from random weights
and from those of the first training. Both see the same clips in the same order. Further arguments are keys of
both trainings on the other glosses.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from asl.config.compose import checked, register
from asl.contract.label_map import label_map_path, read_label_map, read_or_write_label_map
from asl.contract.manifest import read_manifest, write_manifest
from asl.training.config import TrainConfig
from asl.training.run import train

ROOT = Path(__file__).resolve().parent.parent
HALF = 4  # of the demo's eight glosses


def write_half(data: Path, folder: Path, glosses: Sequence[str]) -> Path:
    """Write a manifest of the demo's clips of some glosses. Returns its path."""
    label = {gloss: number for number, gloss in enumerate(glosses)}
    clips = [
        dataclasses.replace(clip, label=label[clip.gloss])
        for clip in read_manifest(data / "metadata" / "demo_manifest.csv")
        if clip.gloss in label
    ]
    manifest = folder / f"{glosses[0].replace(' ', '_')}_manifest.csv"
    write_manifest(manifest, clips)
    read_or_write_label_map(label_map_path(manifest), list(glosses))
    return manifest


def accuracies(data: Path, manifest: Path, folder: Path, *overrides: str) -> list[float]:
    """Train. Returns the top-1 accuracy on val after each epoch."""
    keys = ["experiment=demo", f"paths.data_dir={data}", f"data.manifest={manifest}"]
    keys += [f"paths.checkpoint_dir={folder}", "logger=[]", "trainer.progress_bar=false"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = checked(compose("train", overrides=[*keys, *overrides]), TrainConfig)
    folder.mkdir(parents=True)
    with (folder / "output.txt").open("w") as output, contextlib.redirect_stdout(output):
        train(config)
    with (folder / "history.csv").open(newline="") as history:
        return [float(row["val_top1"]) for row in csv.DictReader(history)]


def interval(values: Sequence[float]) -> str:
    """The mean over seeds with its 95 % interval (Student's t)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1%}"
    margin = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{mean:.1%} ± {margin:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "demo", help="the preprocessed demo")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pretrain-epochs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/transfer.json")
    parser.add_argument("keys", nargs="*", help="of train.py, such as optim.layer_decay=0.7")
    args = parser.parse_args()

    register(train_schema=TrainConfig)
    data = args.data.resolve()
    glosses = read_label_map(data / "metadata" / "demo_label_map.json")
    results: dict[str, list[list[float]]] = {"from scratch": [], "pretrained": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        first, second = (write_half(data, folder, half) for half in (glosses[:HALF], glosses[HALF:]))
        for seed in track(range(args.seeds), "seeds"):
            run, seeded = folder / f"{seed}", f"seed={seed}"
            before = accuracies(
                data, first, run / "first", seeded, f"trainer.max_epochs={args.pretrain_epochs}"
            )
            results.setdefault("on the first glosses", []).append(before)
            keys = [seeded, f"trainer.max_epochs={args.epochs}", *args.keys]
            weights = f"model.weights={run / 'first' / 'best.pt'}"
            results["from scratch"].append(accuracies(data, second, run / "scratch", *keys))
            results["pretrained"].append(accuracies(data, second, run / "pretrained", *keys, weights))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"keys": args.keys, **results}, indent=1))

    scratch, pretrained = np.array(results["from scratch"]), np.array(results["pretrained"])
    table = Table(title=f"top-1 on val, four glosses, {args.seeds} seeds", title_justify="left")
    for column in ("after epoch", "from scratch", "pretrained on four others", "difference"):
        table.add_column(column, justify="right")
    for epoch in range(args.epochs):
        values = scratch[:, epoch], pretrained[:, epoch], pretrained[:, epoch] - scratch[:, epoch]
        table.add_row(f"{epoch + 1}", *map(interval, values))
    Console().print(table)


if __name__ == "__main__":
    main()
