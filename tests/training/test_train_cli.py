"""``python train.py`` as a user runs it: exit codes, messages, a sweep, a sudden end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_run import TINY

ROOT = Path(__file__).resolve().parents[2]


def command(data_dir: Path, folder: Path, *overrides: str) -> list[str]:
    paths = [f"paths.data_dir={data_dir}", f"paths.checkpoint_dir={folder}"]
    return [sys.executable, str(ROOT / "train.py"), *TINY, *paths, *overrides]


def run(data_dir: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(data_dir, folder, *overrides), capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.batchsize=4", "Did you mean data.batch_size?"),
        ("data.batch_size=many", "data.batch_size: Value 'many'"),
        ("optim.lr=0", "optim.lr=0.0: must be greater than 0"),
        ("data.crop_size=99", "data.crop_size=99: does not fit into data.resize=[20, 30]"),
        ("data.manifest=nowhere.csv", "nowhere.csv: no such manifest. Write it with: python preprocess.py"),
    ],
)
def test_a_mistake_is_one_message_without_traceback_and_no_work(
    tiny_data: Path, tmp_path: Path, override: str, said: str
) -> None:
    result = run(tiny_data, tmp_path, override)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "last.pt").exists()


def test_a_sweep_gives_each_job_its_folder_and_goes_on_where_it_was(tiny_data: Path, tmp_path: Path) -> None:
    sweep = ["trainer.max_epochs=1", "logger=[]", "seed=1,2"]
    result = run(tiny_data, tmp_path, *sweep, "--multirun")
    assert result.returncode == 0, result.stderr
    folders = sorted(path.parent for path in tmp_path.glob("*/metrics.json"))
    assert len(folders) == 2
    seeds = [torch.load(folder / "last.pt", weights_only=True)["state_dict"] for folder in folders]
    assert any(not torch.equal(seeds[0][key], seeds[1][key]) for key in seeds[0])
    assert not (tmp_path / "last.pt").exists()

    result = run(tiny_data, tmp_path, *sweep, "resume=auto", "--multirun")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("resumed from") == 2
    assert sorted(path.parent for path in tmp_path.glob("*/metrics.json")) == folders


def test_a_kill_leaves_a_checkpoint_to_go_on_from(tiny_data: Path, tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    process = subprocess.Popen(
        command(tiny_data, tmp_path, "trainer.max_epochs=500"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not last.is_file() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)  # somewhere in a later epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(last, weights_only=True)["asl"]["epoch"]
    assert 1 <= done < 500

    again = run(tiny_data, tmp_path, "trainer.max_epochs=500")
    assert again.returncode == 1
    assert "resume=auto" in again.stderr
    assert torch.load(last, weights_only=True)["asl"]["epoch"] == done

    resumed = run(tiny_data, tmp_path, f"trainer.max_epochs={done + 2}", "resume=auto")
    assert resumed.returncode == 0, resumed.stderr
    assert f"epoch {done + 1}/{done + 2}" in resumed.stdout
    assert f"epoch {done}/{done + 2}" not in resumed.stdout
    assert json.loads((tmp_path / "metrics.json").read_text())["epochs"] == done + 2


def test_two_processes_train_one_model_and_count_val_once(tiny_data: Path, tmp_path: Path) -> None:
    result = run(
        tiny_data, tmp_path, "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=1", "logger=[]"
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["epochs"] == 1
    # Shares of six clips: a clip counted twice would make them shares of eight.
    for name in ("val_top1", "test_top1"):
        assert metrics[name] * 6 == pytest.approx(round(metrics[name] * 6), abs=1e-4)
    assert metrics["test_top5"] == 1.0
