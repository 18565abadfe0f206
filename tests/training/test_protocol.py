"""``protocol=wlasl_authors``: trained on train and val, the epoch chosen on test, under names of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from composing import composed
from test_run import tiny

from asl.data.split import CHOSEN_ON_TEST
from asl.training.checkpoints import CheckpointError, read_checkpoint
from asl.training.run import train

PROTOCOL = "protocol=wlasl_authors"


def test_a_run_as_wlasls_authors_do_it_has_figures_of_its_own_name(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train(tiny(tiny_data, tmp_path, PROTOCOL))
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["protocol"] == "wlasl_authors"
    assert metrics["protocol_note"] == CHOSEN_ON_TEST
    assert {"wlasl_authors_top1", "wlasl_authors_top5", "wlasl_authors_top1_clean"} <= metrics.keys()
    assert not [name for name in metrics if name.startswith(("val_", "test_"))]
    assert metrics["clips"] == {"train": 18, "val": 0, "test": 6}

    info = read_checkpoint(tmp_path / "best.pt")["asl"]
    assert {name.partition("_")[0] for name in info["metrics"]} == {"wlasl", "train"}
    assert info["metrics"]["wlasl_authors_top1"] == metrics["wlasl_authors_top1"]
    with (tmp_path / "history.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert columns[1:5] == ["train_loss", "wlasl_authors_loss", "wlasl_authors_top1", "wlasl_authors_top5"]
    logged = (tmp_path / "logs" / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "wlasl_authors_top1" in logged
    assert "val_" not in logged

    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count(CHOSEN_ON_TEST) == 2  # before and after training
    assert "wlasl_authors split: 18 train, 0 val, 6 test clips" in printed
    assert "wlasl_authors top-1 " in printed
    assert "val top-1" not in printed


def test_the_protocol_of_other_runs_is_standard(tiny_data: Path, tmp_path: Path) -> None:
    metrics = train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))
    assert metrics["protocol"] == "standard"
    assert "protocol_note" not in metrics


@pytest.mark.parametrize("first", [True, False])
def test_a_run_is_not_resumed_with_another_protocol(tiny_data: Path, tmp_path: Path, first: bool) -> None:
    keys = ["trainer.max_epochs=1", "logger=[]"]
    train(tiny(tiny_data, tmp_path, *keys, *([PROTOCOL] if first else [])))
    with pytest.raises(CheckpointError, match=r"another split .*wlasl_authors .*Set protocol, data\.split"):
        train(tiny(tiny_data, tmp_path, *keys, "resume=auto", *([] if first else [PROTOCOL])))


def test_a_run_with_the_protocol_stops_and_resumes_by_its_own_figure(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [PROTOCOL, "logger=[]", "trainer.early_stopping=val_loss", "trainer.patience=1"]
    keys += ["optim.lr=1e-9", "trainer.max_epochs=4"]
    metrics = train(tiny(tiny_data, tmp_path, *keys))
    assert "without a better wlasl_authors_loss" in " ".join(capsys.readouterr().out.split())
    assert train(tiny(tiny_data, tmp_path, *keys, "resume=auto")) == metrics


def test_checkpoints_of_the_protocol_have_their_own_folder() -> None:
    for dataset, keys in (("wlasl100", []), ("demo", ["experiment=demo"])):
        folder = composed("train", *keys, PROTOCOL).paths.checkpoint_dir
        assert folder == f"checkpoints/wlasl_authors/{dataset}"
    assert composed("train", PROTOCOL, "paths.checkpoint_dir=mine").paths.checkpoint_dir == "mine"
