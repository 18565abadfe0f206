"""Several ranks: who starts them, what they share, and what happens if one of them dies."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from run_of_two_ranks import EPOCHS
from test_run import tiny
from torch import nn

from asl.config.setting import ConfigError
from asl.model.optimizer import OptimizerSettings
from asl.training import run as run_module
from asl.training.checkpoints import read_checkpoint
from asl.training.config import TrainConfig
from asl.training.ranks import check_ranks, cluster_plugins
from asl.training.run import train
from asl.training.trainer import check_devices

HERE = Path(__file__).resolve().parent


def run_of_two_ranks(data: Path, folder: Path, *signal_in_rank_1: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / "run_of_two_ranks.py"), str(data), str(folder), *map(str, signal_in_rank_1)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE))),
        },
    )


def test_a_run_that_a_signal_ended_and_whose_rank_was_killed_equals_one_without_interruption(
    tiny_data: Path, tmp_path: Path
) -> None:
    through, broken = tmp_path / "through", tmp_path / "broken"
    terminated = run_of_two_ranks(tiny_data, broken, signal.SIGTERM, 2)
    assert terminated.returncode == 128 + signal.SIGTERM, terminated.stderr
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == 1

    killed = run_of_two_ranks(tiny_data, broken, signal.SIGKILL, 3)
    assert killed.returncode == 1
    assert killed.stderr.splitlines()[-1].startswith("error: rank 1 was killed by SIGKILL (signal 9).")
    assert "Traceback" not in killed.stderr
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == 2

    for folder in (broken, through):
        assert run_of_two_ranks(tiny_data, folder).returncode == 0
    for name in ("last.pt", "best.pt"):
        ours, theirs = (read_checkpoint(folder / name) for folder in (broken, through))
        assert ours["asl"] == theirs["asl"]
        for key in ("state_dict", "current_model_state"):
            assert all(torch.equal(ours[key][one], tensor) for one, tensor in theirs[key].items())
    for name in ("history.csv", "metrics.json"):
        assert (broken / name).read_bytes() == (through / name).read_bytes()
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == EPOCHS
