"""Sweeps: jobs through a launcher, and the summary of their results."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import programs
import pytest
from composing import composed
from parsed_page import Page
from rich.console import Console
from test_run import TINY

from asl.config.setting import ConfigError
from asl.training.run import train
from asl.training.sweep_summary import SweepRun, summarize, write_summary


def ended(folder: Path, *overrides: str, val: float | None = None, error: str | None = None) -> SweepRun:
    """A job of a sweep, and its files."""
    name = ",".join(overrides)
    if val is not None:
        (folder / name).mkdir()
        metrics = {"val_top1": val, "test_top1": val / 2, "val_top1_clean": None, "best_epoch": 3}
        (folder / name / "metrics.json").write_text(json.dumps(metrics))
    return SweepRun(name, ("model.width=2", *overrides), folder / name, error)


@pytest.fixture
def runs(tmp_path: Path) -> list[SweepRun]:
    return [
        ended(tmp_path, "optim.lr=0.1", "seed=1", val=0.5),
        ended(tmp_path, "optim.lr=0.1", "seed=2", val=0.7),
        ended(tmp_path, "optim.lr=0.2", "seed=1", val=0.8),
        ended(tmp_path, "optim.lr=0.2", "seed=2", val=0.9, error="exit code 1"),
        ended(tmp_path, "optim.lr=0.3", "seed=1"),
    ]


def test_runs_are_grouped_over_seeds_and_the_best_group_is_first(runs: list[SweepRun]) -> None:
    summary = summarize(runs)
    assert (summary.keys, summary.repeats) == (("optim.lr",), ("seed",))
    assert summary.figures == ("val_top1", "test_top1")
    assert [(group.values, group.accuracies("val_top1")) for group in summary.groups] == [
        (("0.2",), [0.8]),  # a failed job does not count, also if an earlier one left its metrics
        (("0.1",), [0.5, 0.7]),
        (("0.3",), []),
    ]


def test_folds_repeat_each_other_too_and_added_keys_are_keys(tmp_path: Path) -> None:
    jobs = [ended(tmp_path, f"data.fold={fold}", f"+x={x}", val=0.1) for fold in (0, 1) for x in (5, 6)]
    summary = summarize(jobs)
    assert (summary.keys, summary.repeats) == (("x",), ("data.fold",))
    assert [len(group.runs) for group in summary.groups] == [2, 2]


def test_the_summary_is_a_table_a_csv_file_and_a_page(runs: list[SweepRun], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=150)
    write_summary(runs, tmp_path / "sweep", console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line.replace("│", " ").split() for line in printed.splitlines()]
    assert ["0.1", "2", "60.0%", "±", "14.1%", "70.0%", "30.0%", "±", "7.1%", "35.0%"] in lines
    assert ["0.2", "1", "of", "2", "80.0%", "80.0%", "40.0%", "40.0%"] in lines
    assert ["0.3", "0", "of", "1"] in lines
    assert str(tmp_path / "sweep" / "summary.html") in printed

    rows = list(csv.DictReader((tmp_path / "sweep" / "summary.csv").open()))
    assert [(row["optim.lr"], row["seed"], row["state"], row["val_top1"]) for row in rows] == [
        ("0.2", "1", "done", "0.8"),
        ("0.2", "2", "failed", ""),
        ("0.1", "1", "done", "0.5"),
        ("0.1", "2", "done", "0.7"),
        ("0.3", "1", "no metrics", ""),
    ]
    assert rows[1]["error"] == "exit code 1"
    assert rows[0]["folder"] == str(tmp_path / "optim.lr=0.2,seed=1")
    page = Page((tmp_path / "sweep" / "summary.html").read_text())
    assert "Sweep over optim.lr, seed" in page.text
    assert "5 runs, 2 of them without result" in page.text
    assert [page.data["tables"][name]["length"] for name in ("groups", "runs")] == [3, 5]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_is_summed_up_of_a_single_run_or_without_results(tmp_path: Path, count: int) -> None:
    jobs = [ended(tmp_path, "optim.lr=0.1", val=0.5)] if count == 1 else []
    jobs += [ended(tmp_path, f"optim.lr={i}", "find_lr=true") for i in range(count) if count == 2]
    console = Console(file=io.StringIO())
    write_summary(jobs, tmp_path / "sweep", console)
    assert not (tmp_path / "sweep").exists()


def test_a_launcher_is_for_sweeps() -> None:
    with pytest.raises(ConfigError, match=r"launcher=slurm: .* Add --multirun"):
        train(composed("train", "model.weights=null", "launcher=slurm"))


def test_jobs_of_one_folder_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    keys = [f"paths.data_dir={tiny_data}", f"paths.checkpoint_dir={tmp_path}"]
    result = programs.run("train.py", "--multirun", *keys, "seed=1", "launcher=none,local", cwd=programs.ROOT)
    assert result.returncode == 1
    assert "error: several jobs of this sweep would write to " in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.pt"))


def test_a_sweep_in_jobs_gives_a_summary_also_if_one_fails(tiny_data: Path, tmp_path: Path) -> None:
    keys = [*TINY, "trainer.max_epochs=1", "logger=[]"]
    keys += [f"paths.data_dir={tiny_data}", f"paths.checkpoint_dir={tmp_path}"]
    manifest = tiny_data / "metadata" / "tiny_manifest.csv"
    keys += [f"data.manifest={manifest},nowhere.csv", "launcher=local", "launcher.jobs=2", "--multirun"]
    result = programs.run("train.py", *keys, cwd=programs.ROOT, env={"COLUMNS": "200"})
    assert result.returncode == 1
    assert f"data.manifest={manifest}: done" in result.stdout
    assert "error: 1 of 2 jobs failed\ndata.manifest=nowhere.csv: exit code 1; log: " in result.stderr
    assert "\n  error: nowhere.csv: no such manifest" in result.stderr
    assert "Traceback" not in result.stderr
    sweep = tmp_path / "logs" / "multirun"
    rows = list(csv.DictReader((sweep / "summary.csv").open()))
    assert [(row["data.manifest"], row["state"]) for row in rows] == [
        (str(manifest), "done"),
        ("nowhere.csv", "failed"),
    ]
    assert json.loads((Path(rows[0]["folder"]) / "metrics.json").read_text())["epochs"] == 1
    assert f"summary  {sweep / 'summary.html'}" in result.stdout
