"""CONTRIBUTING.md: its example network, loss, reader and data set run as shown, and its paths exist."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shlex
import subprocess
from collections import Counter
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import torch
import torch.nn.functional as F
from clips import make_clip, write_clip

from asl.contract.manifest import read_manifest
from asl.data.clip_files import ClipError
from asl.data.framing import Framing
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
    return [program, *shlex.split(shown)]


def start(project: Path, program: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the project as CONTRIBUTING.md says."""
    environment = {"PYTHONPATH": f"mine{os.pathsep}{ROOT}"}
    return programs.run(*command(program), *overrides, cwd=project, env=environment)


def run(project: Path, program: str, *overrides: str) -> str:
    """What a program prints that runs in the project without an error."""
    result = start(project, program, *overrides)
    assert result.returncode == 0, result.stderr
    return result.stdout


def rows_of_demo(demo_dir: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Segments of one file and some whole files, as rows of the CSV file; frames of each clip by video_id."""
    instances = json.loads((demo_dir / "metadata" / "demo.json").read_text())
    truth = json.loads((demo_dir / "metadata" / "demo_truth.json").read_text())["instances"]
    shared = Counter(entry["raw"] for entry in truth.values() if entry["outcome"] == "clip").most_common(1)
    rows, num_frames = [], {}
    for instance in instances:
        video_id, start, end = (instance[key] for key in ("video_id", "frame_start", "frame_end"))
        expected = truth[video_id]
        if expected["outcome"] != "clip" or expected["raw"] not in (shared[0][0], f"{video_id}.mp4"):
            continue
        times = {"start_s": (start - 1) / 25 or "", "end_s": "" if end == -1 else end / 25}
        named = {key: instance[key] for key in ("video_id", "gloss", "split", "signer_id")}
        rows.append({**named, **times, "file": Path(expected["raw"]).name})
        num_frames[video_id] = expected["num_frames"]
    return rows, num_frames


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def preprocessed(project: Path, demo_dir: Path) -> dict[str, int]:
    """``preprocess.py`` has run with the example data set; the expected frames of each clip by video_id."""
    rows, num_frames = rows_of_demo(demo_dir)
    outside = {**rows[0], "video_id": "../outside"}
    write_csv(project / "data" / "metadata" / "signs.csv", [*rows, outside])
    run(project, "preprocess.py", f"paths.raw_dir={demo_dir / 'raw'}", "trim=cpu", "frames.enabled=false")
    return num_frames


def test_preprocessing_cuts_the_example_data_set_exactly(
    project: Path, preprocessed: dict[str, int], demo_dir: Path
) -> None:
    clips = {clip.video_id: clip for clip in read_manifest(project / "data/metadata/signs_manifest.csv")}
    rows, _ = rows_of_demo(demo_dir)
    assert {video_id: clip.num_frames for video_id, clip in clips.items()} == preprocessed
    for row in rows:
        clip = clips[row["video_id"]]
        assert (clip.gloss, clip.split, clip.signer_id) == (row["gloss"], row["split"], str(row["signer_id"]))
        assert (clip.start_s, Path(clip.source).name) == (row["start_s"] or 0, row["file"])
        assert (project / "data" / clip.path).is_file()
    assert {clip.match for clip in clips.values()} == {"video_id", "url_name"}
    with (project / "data" / "metadata" / "signs_preprocess_errors.csv").open() as file:
        (error,) = csv.DictReader(file)
    assert "video_id='../outside' starts with a dot" in error["error"]


def test_training_uses_the_example_network_loss_and_reader(
    project: Path, preprocessed: dict[str, int], example: Any
) -> None:
    tiny = ["model.width=4", "model.hidden=8", "data.clip_len=4", "data.batch_size=4", "data.num_workers=0"]
    small = ["data.resize=[40,48]", "data.crop_size=32", "trainer=cpu", "trainer.max_epochs=1", "logger=[]"]
    printed = " ".join(run(project, "train.py", *tiny, *small).split())
    assert "cnn_gru, width 4, hidden 8" in printed
    assert "epochs 1, poly1, AdamW" in printed
    assert "not stored: clips are decoded when they are drawn" in printed
    metrics = json.loads((project / "checkpoints" / "metrics.json").read_text())
    assert (metrics["model"], metrics["dataset"], metrics["epochs"]) == ("cnn_gru", "signs", 1)
    assert sum(metrics["clips"].values()) == len(preprocessed)
    assert 0 <= metrics["test_top1"] <= 1

    checkpoint = read_checkpoint(project / "checkpoints" / "best.pt")
    assert checkpoint["asl"]["network"] == "cnn_gru.CnnGru"
    assert checkpoint["asl"]["model"] == {"name": "cnn_gru", "width": 4, "hidden": 8}
    network = restore_network(checkpoint)
    assert isinstance(network, example("cnn_gru").CnnGruNetwork)
    assert not network.training
    assert torch.equal(network.fc.weight, checkpoint["state_dict"]["model.fc.weight"])
    assert network(torch.zeros(2, 3, 4, 32, 32)).shape == (2, metrics["num_classes"])


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("preprocess.py", [" signs,", "dataset.table=${paths.metadata_dir}/signs.csv"]),
        (
            "train.py",
            ["model=cnn_gru", "poly1", "pyav", "model.hidden=256", "loss.epsilon=2.0", "GRU's state"],
        ),
    ],
)
def test_help_lists_the_examples_and_their_keys(project: Path, program: str, expected: list[str]) -> None:
    printed = run(project, program, "--help")
    assert [text for text in expected if text not in printed] == []


def test_a_value_out_of_range_is_one_message(project: Path) -> None:
    result = start(project, "train.py", "model.hidden=0")
    assert result.stderr == "error: model.hidden=0: must be at least 1 (size of the GRU's state)\n"


def test_the_example_network_depends_on_the_order_of_the_frames(example: Any) -> None:
    torch.manual_seed(0)
    network = example("cnn_gru").CnnGru(width=4, hidden=8).build(5).eval()
    video = torch.randn(2, 3, 4, 32, 32)
    logits = network(video)
    assert logits.shape == (2, 5)
    assert not torch.allclose(network(video.flip(2)), logits)


def test_the_example_loss_is_cross_entropy_and_a_term(example: Any) -> None:
    settings, logits, label = (
        example("poly1").Poly1,
        torch.tensor([[0.0, 0.0], [50.0, 0.0]]),
        torch.tensor([0, 1]),
    )
    loss = settings(epsilon=2.0, label_smoothing=0.0).build()
    assert loss(logits[:1], label[:1]).item() == pytest.approx(np.log(2) + 2 * 0.5)
    plain = settings(epsilon=0.0, label_smoothing=0.1).build()
    assert torch.allclose(plain(logits, label), F.cross_entropy(logits, label, label_smoothing=0.1))
    logits.requires_grad_()
    loss(logits, label).backward()
    assert torch.isfinite(logits.grad).all()


def test_the_example_reader_reads_the_right_frames(example: Any, tmp_path: Path) -> None:
    # The third frame stays on display from 0.08 to 0.32 s: six points of the 25 fps grid.
    starts_s, grey = [0.0, 0.04, 0.08, 0.32, 0.36, 0.40], [20, 60, 100, 140, 180, 220]
    write_clip(tmp_path / "a.mp4", grey=grey, starts_s=starts_s)
    clip = dataclasses.replace(make_clip("train", 0, 0, num_frames=6), duration_s=0.44)
    reader = example("pyav_reader").PyavReader()
    sampling = Sampling(clip_len=11, frame_stride=1)
    frames = reader.read(clip, tmp_path / "a.mp4", sampling=sampling, framing=Framing(resize=[20, 30]))
    assert (frames.shape, frames.dtype) == ((11, 20, 30, 3), np.uint8)
    expected = [20, 60, 100, 100, 100, 100, 100, 100, 140, 180, 220]
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("how", ["missing", "damaged", "short"])
def test_the_example_reader_names_a_clip_that_cannot_be_read(example: Any, tmp_path: Path, how: str) -> None:
    file = tmp_path / "a.mp4"
    if how != "missing":
        write_clip(file, grey=[20, 60, 100] if how == "short" else range(20, 140, 10))
    if how == "damaged":
        file.write_bytes(file.read_bytes()[:500])
    reader = example("pyav_reader").PyavReader()
    with pytest.raises(ClipError, match=rf"clip train000 (?s:.)*file: {file}\n"):
        reader.read(
            make_clip("train", 0, 0), file, sampling=Sampling(clip_len=4), framing=Framing(resize=[20, 30])
        )


def test_the_example_data_set_refuses_impossible_rows(example: Any, tmp_path: Path) -> None:
    good = {
        "video_id": "a",
        "file": "x.mp4",
        "gloss": "go",
        "split": "train",
        "start_s": "0.04",
        "end_s": "1.1",
    }
    rows = [
        good,
        {**good, "video_id": "b", "gloss": "book", "start_s": "", "end_s": ""},
        good,
        {**good, "video_id": "c", "gloss": ""},
        {**good, "video_id": "d", "split": "dev"},
        {**good, "video_id": "e", "end_s": "0.04"},
        {**good, "video_id": "f", "end_s": "soon"},
    ]
    write_csv(tmp_path / "signs.csv", rows)
    data_set = example("csv_dataset").CsvDataset(name="signs", table=str(tmp_path / "signs.csv"))
    metadata = data_set.load()
    spans = [(one.video_id, one.start_s, one.end_s, one.signer_id) for one in metadata.instances]
    assert spans == [("a", Fraction(1, 25), Fraction(11, 10), ""), ("b", 0, None, "")]
    assert metadata.glosses == ("go", "book")
    assert [(one.video_id, one.error.split(":")[0]) for one in metadata.refused] == [
        (video_id, f"signs.csv, line {number}") for number, video_id in enumerate("cdef", start=5)
    ]
    data_set.table = str(tmp_path / "gone.csv")
    with pytest.raises(MetadataError, match=r"gone\.csv: no such metadata file \(dataset\.table\)"):
        data_set.load()


def test_every_path_that_is_named_exists() -> None:
    for path in re.findall(r"`((?:asl|conf|tests|benchmarks)/[^`{}]*)`", TEXT):
        assert (ROOT / path).exists(), path
    for name in set(re.findall(r"from (asl\.[\w.]+) import", TEXT)):
        assert import_module(name)


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent for path in (ROOT / "asl").glob("*/__init__.py")}
    packages = (packages - {ROOT / "asl" / "preprocess"}) | {
        path.parent for path in (ROOT / "asl" / "preprocess").glob("*/__init__.py")
    }
    named = re.findall(r"^\| `(asl/.*)/` \|", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(str(package.relative_to(ROOT)) for package in packages)


def test_the_tour_is_eight_files() -> None:
    assert len(re.findall(r"^\d\. `asl/.*\.py`:", TEXT, re.MULTILINE)) == 8
