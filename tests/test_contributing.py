"""CONTRIBUTING.md: its example network, loss, reader and data set run as shown, and its paths exist."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clips import make_clip, write_clip

from asl.contract.manifest import read_manifest
from asl.data.clip_files import ClipError
from asl.data.sampling import Sampling
from asl.datasets.instance import MetadataError
from asl.training.checkpoints import read_checkpoint, restore_network

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = {
    name: code
    for code in re.findall(r"^```(?:python|yaml)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for name in re.findall(r"\A# (\S+)\n", code)
}
COLUMNS = ("video_id", "file", "gloss", "split", "start_s", "end_s", "signer_id")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the files of CONTRIBUTING.md."""
    folder = tmp_path_factory.mktemp("project")
    for name, code in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    return folder


@pytest.fixture
def example(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the examples."""
    monkeypatch.syspath_prepend(str(project / "mine"))
    return import_module


def command(program: str) -> list[str]:
    """The command of CONTRIBUTING.md that runs a program with the examples."""
    (shown,) = re.findall(rf"^ +PYTHONPATH=mine python {program} (.*)$", TEXT, re.MULTILINE)
    return [sys.executable, str(ROOT / program), *shlex.split(shown)]


def run(project: Path, program: str, *overrides: str) -> str:
    """What a program prints that runs in the project as CONTRIBUTING.md says."""
    environment = {**os.environ, "PYTHONPATH": f"mine{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command(program), *overrides],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def rows_of_demo(demo_dir: Path) -> list[dict[str, Any]]:
    """Two glosses of the demo with two segments of one file, and whole files, as rows of the CSV file."""
    instances = json.loads((demo_dir / "metadata" / "demo.json").read_text())
    truth = json.loads((demo_dir / "metadata" / "demo_truth.json").read_text())["instances"]
    good = [row for row in instances if truth[row["video_id"]]["outcome"] == "clip"]
    names = [Path(truth[row["video_id"]]["raw"]).name.lower() for row in good]
    rows = []
    for row in good:
        file = Path(truth[row["video_id"]]["raw"]).name
        whole = (row["frame_start"], row["frame_end"]) == (1, -1)
        if whole and names.count(file.lower()) > 1:
            continue
        rows.append(
            {
                "video_id": row["video_id"],
                "file": file,
                "gloss": row["gloss"],
                "split": row["split"],
                "start_s": "" if whole else (row["frame_start"] - 1) / 25,
                "end_s": "" if whole else row["frame_end"] / 25,
                "signer_id": row["signer_id"],
            }
        )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
