"""last.pt after each epoch, best.pt at the best one, atomic writes, and which run may be resumed."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from asl.errors import UserError
from asl.training.checkpoints import (
    AtomicCheckpointIO,
    CheckpointError,
    LastAndBest,
    checkpoint_to_resume,
    copy_checkpoints,
    read_checkpoint,
)


class FixedAccuracies(pl.LightningModule):
    """Logs the given accuracies, one per epoch, and losses, of which the others are 1."""

    def __init__(self, accuracies: list[float], losses: dict[int, float]) -> None:
        super().__init__()
        self.accuracies, self.losses = accuracies, losses
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.weight - batch[0].mean()).square().sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_top1", self.accuracies[self.current_epoch])
        self.log("val_loss", self.losses.get(self.current_epoch, 1.0))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["asl"] = {"epoch": self.current_epoch + 1}


def run(
    folder: Path,
    accuracies: list[float],
    resume_from: Path | None = None,
    losses: dict[int, float] | None = None,
) -> LastAndBest:
    checkpoints = LastAndBest(folder)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=len(accuracies),
        callbacks=[checkpoints],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    loader = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2)
    module = FixedAccuracies(accuracies, losses or {})
    trainer.fit(module, loader, loader, ckpt_path=resume_from, weights_only=True)
    return checkpoints


def epochs(folder: Path) -> tuple[int, int]:
    """The epochs of last.pt and best.pt, counted from 1."""
    return tuple(read_checkpoint(folder / name)["asl"]["epoch"] for name in ("last.pt", "best.pt"))  # type: ignore[return-value]


def test_last_pt_is_of_the_last_epoch_and_best_pt_of_the_best(tmp_path: Path) -> None:
    checkpoints = run(tmp_path, [0.1, 0.5, 0.3, 0.2])
    assert epochs(tmp_path) == (4, 2)
    assert (checkpoints.best_epoch, checkpoints.best_score) == (2, 0.5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "last.pt"]


def test_a_worse_epoch_after_a_resume_does_not_become_best(tmp_path: Path) -> None:
    run(tmp_path, [0.1, 0.5])
    run(tmp_path, [0.1, 0.5, 0.4, 0.3], resume_from=tmp_path / "last.pt")
    assert epochs(tmp_path) == (4, 2)


def test_a_better_epoch_after_a_resume_becomes_best(tmp_path: Path) -> None:
    run(tmp_path, [0.1, 0.5])
    run(tmp_path, [0.1, 0.5, 0.6], resume_from=tmp_path / "last.pt")
    assert epochs(tmp_path) == (3, 3)


def test_of_equal_epochs_the_first_is_the_best(tmp_path: Path) -> None:
    run(tmp_path, [0.5, 0.5, 0.5])
    assert epochs(tmp_path) == (3, 1)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_an_epoch_with_a_loss_that_is_not_finite_is_not_saved(tmp_path: Path, loss: float) -> None:
    with pytest.raises(UserError, match=f"epoch 2: val_loss is {loss}, so training has diverged"):
        run(tmp_path, [0.5, 0.9, 0.7], losses={1: loss})
    assert epochs(tmp_path) == (1, 1)


def test_a_run_in_a_renamed_folder_keeps_its_best(tmp_path: Path) -> None:
    run(tmp_path / "a", [0.1, 0.5])
    (tmp_path / "a").rename(tmp_path / "b")
    run(tmp_path / "b", [0.1, 0.5, 0.4], resume_from=tmp_path / "b" / "last.pt")
    assert epochs(tmp_path / "b") == (3, 2)


def test_a_run_resumed_in_another_folder_keeps_its_best(tmp_path: Path) -> None:
    run(tmp_path / "a", [0.1, 0.5])
    copy_checkpoints(tmp_path / "a" / "last.pt", tmp_path / "b", epoch=2)
    run(tmp_path / "b", [0.1, 0.5, 0.4], resume_from=tmp_path / "a" / "last.pt")
    assert epochs(tmp_path / "b") == (3, 2)
    assert epochs(tmp_path / "a") == (2, 2)


def test_a_run_resumed_in_another_folder_can_be_resumed_there_before_its_first_epoch_ends(
    tmp_path: Path,
) -> None:
    run(tmp_path / "a", [0.5, 0.1])
    copy_checkpoints(tmp_path / "a" / "last.pt", tmp_path / "b", epoch=2)
    assert checkpoint_to_resume("auto", tmp_path / "b") == tmp_path / "b" / "last.pt"
    assert epochs(tmp_path / "b") == (2, 1)


def test_without_best_pt_the_best_of_the_following_epochs_is_kept(tmp_path: Path) -> None:
    run(tmp_path, [0.1, 0.5])
    (tmp_path / "best.pt").unlink()
    copy_checkpoints(tmp_path / "last.pt", tmp_path, epoch=2)
    run(tmp_path, [0.1, 0.5, 0.3, 0.4, 0.2], resume_from=tmp_path / "last.pt")
    assert epochs(tmp_path) == (5, 4)


def test_a_checkpoint_that_is_older_than_best_pt_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a", [0.1])
    (tmp_path / "a" / "last.pt").rename(tmp_path / "old.pt")
    run(tmp_path / "a", [0.1, 0.2, 0.5])
    old = (tmp_path / "old.pt").rename(tmp_path / "a" / "old.pt")
    for folder in (tmp_path / "a", tmp_path / "b"):
        with pytest.raises(CheckpointError, match=r"old\.pt is of epoch 1, and .*best\.pt .* is of epoch 3"):
            copy_checkpoints(old, folder, epoch=1)


def test_a_run_that_was_killed_between_best_pt_and_last_pt_repeats_that_epoch(tmp_path: Path) -> None:
    run(tmp_path / "a", [0.1, 0.5])
    copy_checkpoints(tmp_path / "a" / "last.pt", tmp_path / "b", epoch=1)
    assert read_checkpoint(tmp_path / "b" / "best.pt")["asl"]["epoch"] == 2
    with pytest.raises(CheckpointError, match=r"epoch 0, and .* is of epoch 2"):
        copy_checkpoints(tmp_path / "a" / "last.pt", tmp_path / "b", epoch=0)


def test_a_damaged_best_pt_is_an_error(tmp_path: Path) -> None:
    run(tmp_path, [0.1])
    (tmp_path / "best.pt").unlink()
    (tmp_path / "best.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"best\.pt, the best epoch so far, is damaged .*Move it away"):
        copy_checkpoints(tmp_path / "last.pt", tmp_path, epoch=1)


def test_a_folder_is_an_error_that_names_a_checkpoint_in_it(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(
        CheckpointError, match=r"runs is a folder; name a checkpoint in it, as .*runs/best\.pt"
    ):
        read_checkpoint(tmp_path / "runs")


def test_a_damaged_last_pt_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    run(tmp_path, [0.1])
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").unlink()
    (tmp_path / "last.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(
        CheckpointError, match=r"last\.pt cannot be read: [^.]*\. It is damaged, or no checkpoint: .*best\.pt"
    ):
        read_checkpoint(tmp_path / "last.pt")


def test_a_checkpoint_is_synced_before_it_is_renamed_within_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(fd: int) -> None:
        order.append("fsync")
        fsync(fd)

    def recorded_replace(self: Path, target: Any) -> Path:
        order.append("replace")
        assert self.parent == Path(target).parent
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"asl": {"epoch": 1}}, tmp_path / "last.pt")
    writer.teardown()
    assert order == ["fsync", "replace"]
    assert read_checkpoint(tmp_path / "last.pt") == {"asl": {"epoch": 1}}


def test_a_checkpoint_is_written_while_training_goes_on_and_is_that_of_its_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, save, last = threading.Event(), torch.save, tmp_path / "last.pt"

    def delayed_save(*args: Any) -> None:
        go_on.wait(60)
        save(*args)

    monkeypatch.setattr(torch, "save", delayed_save)
    writer, weight = AtomicCheckpointIO(), torch.ones(2)
    options = {"link": tmp_path / "link.pt"}
    writer.save_checkpoint({"asl": {"epoch": 1}, "weight": weight}, last, options)
    weight.zero_()  # the next epoch
    assert not last.exists()
    go_on.set()
    writer.save_checkpoint({"asl": {"epoch": 2}}, tmp_path / "other.pt")  # waits for the one before
    for name in ("last.pt", "link.pt"):
        assert torch.equal(read_checkpoint(tmp_path / name)["weight"], torch.ones(2))
    assert writer.load_checkpoint(tmp_path / "other.pt")["asl"]["epoch"] == 2


def test_an_error_of_a_write_is_raised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = AtomicCheckpointIO()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        writer.save_checkpoint({"asl": {"epoch": 1}}, tmp_path / "last.pt")
        with pytest.raises(OSError, match="No space left"):
            writer.teardown()
    writer.save_checkpoint({"asl": {"epoch": 2}}, tmp_path / "last.pt")
    writer.teardown()
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_the_checkpoint_to_resume_from(tmp_path: Path) -> None:
    assert checkpoint_to_resume(None, tmp_path) is None
    assert checkpoint_to_resume("auto", tmp_path) is None
    with pytest.raises(CheckpointError, match=r"resume=nowhere\.pt: no such checkpoint"):
        checkpoint_to_resume("nowhere.pt", tmp_path)
    last = tmp_path / "last.pt"
    last.touch()
    assert checkpoint_to_resume("auto", tmp_path) == last
    assert checkpoint_to_resume(str(last), tmp_path) == last
    assert checkpoint_to_resume(str(last), tmp_path / "other") == last


def test_of_several_ranks_the_others_accept_what_the_first_one_has_copied(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere" / "last.pt", tmp_path / "run"
    for file in (elsewhere, folder / "last.pt"):
        file.parent.mkdir()
        file.touch()
    assert checkpoint_to_resume(str(elsewhere), folder, first_rank=False) == elsewhere


@pytest.mark.parametrize("resume", [None, "elsewhere"])
def test_an_earlier_run_is_not_overwritten(tmp_path: Path, resume: str | None) -> None:
    (tmp_path / "last.pt").touch()
    if resume:
        (tmp_path / "other").mkdir()
        resume = str(tmp_path / "other" / "last.pt")
        Path(resume).touch()
    with pytest.raises(CheckpointError) as caught:
        checkpoint_to_resume(resume, tmp_path)
    assert "resume=auto" in str(caught.value)
    assert "paths.checkpoint_dir=" in str(caught.value)
    (tmp_path / "last.pt").rename(tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=r"best\.pt of an earlier run would be overwritten") as caught:
        checkpoint_to_resume(resume, tmp_path)
    assert "resume=auto" not in str(caught.value)
