"""``history.csv``: a row for each epoch, whatever interrupted the run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from test_run import Killed, tiny

from asl.training.checkpoints import LastAndBest, read_checkpoint
from asl.training.run import train


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_history_has_what_was_measured_after_each_epoch(tiny_data: Path, tmp_path: Path) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=3", "logger=[]"))
    rows = history(tmp_path)
    assert list(rows[0]) == ["epoch", "train_loss", "val_loss", "val_top1", "val_top5", "lr"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    measured = read_checkpoint(tmp_path / "last.pt")["asl"]["metrics"]
    for name in ("val_loss", "val_top1", "val_top5"):
        assert float(rows[-1][name]) == pytest.approx(measured[name], rel=1e-6)
    assert float(rows[-1]["train_loss"]) == pytest.approx(measured["train_loss_epoch"], rel=1e-6)
    # One epoch of warm-up to the peak, then half a cosine to 0 in two epochs.
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.01, 0.005, 0])


def test_a_run_resumed_in_another_folder_has_the_history_of_all_its_epochs(
    tiny_data: Path, tmp_path: Path
) -> None:
    train(tiny(tiny_data, tmp_path / "a", "trainer.max_epochs=1", "logger=[]"))
    train(tiny(tiny_data, tmp_path / "b", "logger=[]", f"resume={tmp_path}/a/last.pt"))
    assert history(tmp_path / "b")[:1] == history(tmp_path / "a")
    assert [row["epoch"] for row in history(tmp_path / "b")] == ["1", "2"]


def test_an_epoch_that_is_repeated_after_a_kill_has_one_row(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_train_epoch_end = LastAndBest.on_train_epoch_end

    def die_before_second_checkpoint(self: LastAndBest, trainer: object, module: object) -> None:
        if trainer.current_epoch == 1:  # type: ignore[attr-defined]
            raise Killed
        on_train_epoch_end(self, trainer, module)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(LastAndBest, "on_train_epoch_end", die_before_second_checkpoint)
        with pytest.raises(Killed):
            train(tiny(tiny_data, tmp_path, "logger=[]"))
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    train(tiny(tiny_data, tmp_path, "logger=[]", "resume=auto"))
    assert history(tmp_path) == rows
