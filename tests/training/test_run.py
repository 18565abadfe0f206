"""A training run on tiny clips: its files, resuming, messages and errors."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from clips import write_manifest_and_label_map
from composing import CONF, composed
from torch._dynamo.testing import CompileCounter

from asl import machine
from asl.config.setting import ConfigError
from asl.contract.manifest import Clip, read_manifest
from asl.data.normalisation import KINETICS_MEAN
from asl.errors import Terminated, UserError
from asl.files import temp_path
from asl.machine import lock_file
from asl.model.networks.video_resnet import VideoResNet
from asl.training import run as run_module
from asl.training.checkpoints import (
    AtomicCheckpointIO,
    CheckpointError,
    LastAndBest,
    read_checkpoint,
    restore_network,
)
from asl.training.config import TrainConfig
from asl.training.job_folder import job_name
from asl.training.run import train
from asl.training.trainer import check_devices, resolve_precision, why_not_compiled

TINY = [
    "dataset.name=tiny",
    "model.weights=null",
    "model.width=2",
    "model.layers=[1,1]",
    "model.dropout=0.3",
    "data.resize=[20,30]",
    "data.crop_size=16",
    "data.clip_len=4",
    "data.batch_size=4",
    "data.num_workers=0",
    "optim.lr=0.01",
    "optim.warmup_epochs=1",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
]


def configure(*overrides: str) -> TrainConfig:
    config: TrainConfig = composed("train", *overrides)
    return config


def tiny(data_dir: Path, folder: Path, *overrides: str) -> TrainConfig:
    return configure(*TINY, f"paths.data_dir={data_dir}", f"paths.checkpoint_dir={folder}", *overrides)


def states_equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_writes_checkpoints_metrics_and_logs(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train(tiny(tiny_data, tmp_path))
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert {"val_top1", "test_top1", "test_top5", "epochs", "best_epoch"} <= metrics.keys()
    assert metrics["epochs"] == 2
    assert metrics["test_top5"] == 1.0  # of three glosses
    assert metrics["clips"] == {"train": 12, "val": 6, "test": 6}
    best = read_checkpoint(tmp_path / "best.pt")
    assert best["asl"]["epoch"] == metrics["best_epoch"]
    assert best["asl"]["metrics"]["val_top1"] == metrics["val_top1"]
    assert read_checkpoint(tmp_path / "last.pt")["asl"]["epoch"] == 2
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))
    rows = (tmp_path / "logs" / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "val_top1" in rows[0]
    printed = " ".join(capsys.readouterr().out.split())
    assert "official split: 12 train, 6 val, 6 test clips, 3 glosses, 4 training clips each" in printed
    assert "epoch 2/2" in printed


def test_a_checkpoint_holds_all_that_is_needed_to_use_the_network(tiny_data: Path, tmp_path: Path) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1"))
    checkpoint = torch.load(tmp_path / "best.pt", weights_only=True)
    settings = checkpoint["asl"]
    model = restore_network(checkpoint)
    assert isinstance(model, VideoResNet)
    assert not model.training
    assert torch.equal(model.fc.weight, checkpoint["state_dict"]["model.fc.weight"])
    assert settings["glosses"] == ["book", "drink", "go"]
    assert settings["sampling"] == {
        "fps": 25.0,
        "clip_len": 4,
        "frame_stride": 2,
        "pad": "edge",
        "long": "uniform",
    }
    assert (settings["resize"], settings["crop_size"]) == ([20, 30], 16)
    assert settings["mean"] == list(KINETICS_MEAN)


class Killed(BaseException):
    pass


def kill_after_epoch(epoch: int, config: TrainConfig) -> None:
    """Start a run and kill it when it has written the checkpoints of an epoch, counted from 1."""
    on_train_epoch_end = LastAndBest.on_train_epoch_end

    def die(self: LastAndBest, trainer: Any, module: Any) -> None:
        on_train_epoch_end(self, trainer, module)
        if trainer.current_epoch + 1 == epoch:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LastAndBest, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            train(config)


def test_a_resumed_run_equals_an_uninterrupted_one(tiny_data: Path, tmp_path: Path) -> None:
    through, broken = tmp_path / "through", tmp_path / "broken"
    epochs = "trainer.max_epochs=4"
    whole = train(tiny(tiny_data, through, epochs))

    kill_after_epoch(2, tiny(tiny_data, broken, epochs))
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == 2
    torch.manual_seed(99)  # the global seed of the new process must not matter
    assert train(tiny(tiny_data, broken, epochs, "resume=auto")) == whole

    for name in ("last.pt", "best.pt"):
        a, b = read_checkpoint(through / name), read_checkpoint(broken / name)
        assert a["asl"] == b["asl"]
        assert states_equal(a["state_dict"], b["state_dict"])
    assert (broken / "history.csv").read_bytes() == (through / "history.csv").read_bytes()
    # Each start has its own log; the first one is kept.
    assert len(list((broken / "logs" / "csv").glob("version_*/metrics.csv"))) == 2


@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_checkpoint_is_written_to_its_end_before_a_signal_ends_the_run(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: int, error: type[BaseException]
) -> None:
    through, broken = tmp_path / "through", tmp_path / "broken"
    keys = ["trainer.max_epochs=3", "logger=[]"]
    whole = train(tiny(tiny_data, through, *keys))
    save = AtomicCheckpointIO.save_checkpoint

    def interrupted_save(
        self: AtomicCheckpointIO, checkpoint: dict[str, Any], *args: Any, **options: Any
    ) -> None:
        if checkpoint["asl"]["epoch"] == 2:
            signal.raise_signal(signum)
        save(self, checkpoint, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", interrupted_save)
        with pytest.raises(KeyboardInterrupt) as raised:
            train(tiny(tiny_data, broken, *keys))
    assert raised.type is error
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == 2
    assert train(tiny(tiny_data, broken, *keys, "resume=auto")) == whole
    states = [read_checkpoint(folder / "last.pt")["state_dict"] for folder in (through, broken)]
    assert states_equal(*states)


def test_the_first_epoch_after_a_resume_draws_its_own_clips(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = run_module.ClipDataModule.on_after_batch_transfer

    def record(self: Any, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer.training:
            seen.append(batch["uniforms"])
        return original(self, batch, dataloader_idx)

    monkeypatch.setattr(run_module.ClipDataModule, "on_after_batch_transfer", record)
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1"))
    first = torch.cat(seen)
    seen.clear()
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=2", "resume=auto"))
    assert first.shape == torch.cat(seen).shape
    assert not torch.equal(first, torch.cat(seen))


def test_resuming_a_finished_run_only_measures_test(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(tiny(tiny_data, tmp_path))
    (tmp_path / "metrics.json").unlink()
    written = (tmp_path / "last.pt").stat().st_mtime_ns
    capsys.readouterr()
    assert train(tiny(tiny_data, tmp_path, "resume=auto")) == first
    assert (tmp_path / "metrics.json").is_file()
    assert (tmp_path / "last.pt").stat().st_mtime_ns == written
    assert "epoch 1/" not in capsys.readouterr().out


def test_a_run_without_best_pt_says_what_is_kept_and_a_finished_one_what_to_measure(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["logger=[]", "resume=auto"]
    train(tiny(tiny_data, tmp_path, *keys, "trainer.max_epochs=1"))
    (tmp_path / "best.pt").unlink()
    with pytest.raises(CheckpointError, match=r"no best epoch .* evaluate\.py checkpoint=.*last\.pt"):
        train(tiny(tiny_data, tmp_path, *keys, "trainer.max_epochs=1"))
    capsys.readouterr()
    assert train(tiny(tiny_data, tmp_path, *keys, "trainer.max_epochs=2"))["best_epoch"] == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "best.pt is missing beside the checkpoint: the best epoch from 2 on is kept" in printed


def test_a_run_does_not_touch_what_other_runs_are_writing(tiny_data: Path, tmp_path: Path) -> None:
    no_process = 2**22 + 1  # above the largest number that Linux gives to a process
    own, others = (
        temp_path(folder / "last.pt", pid=no_process) for folder in (tmp_path, tmp_path / "second")
    )
    others.parent.mkdir()
    own.touch()
    others.touch()
    config = tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]")
    with (
        lock_file(tmp_path / ".lock"),
        pytest.raises(UserError, match=r"is being written by another run.*paths\.checkpoint_dir"),
    ):
        train(config)
    assert own.exists()
    train(config)
    assert not own.exists()
    assert others.exists()


def test_a_run_trains_where_the_file_system_offers_no_locks(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(machine, "_lock", refuse)
    assert train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))["epochs"] == 1


def test_the_seed_decides_the_model(tiny_data: Path, tmp_path: Path) -> None:
    states = []
    for number, seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(number)
        train(tiny(tiny_data, folder, "trainer.max_epochs=1", f"seed={seed}", "logger=[]"))
        states.append(read_checkpoint(tmp_path / str(number) / "last.pt")["state_dict"])
    assert states_equal(states[0], states[1])
    assert not states_equal(states[0], states[2])


def test_another_label_map_is_refused_on_resume(tiny_data: Path, tmp_path: Path) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1"))
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    renamed = [dataclasses.replace(c, gloss="eat" if c.gloss == "drink" else c.gloss) for c in clips]
    write_manifest_and_label_map(tmp_path / "other_manifest.csv", renamed)
    with pytest.raises(CheckpointError, match="label 1 is 'drink' there, 'eat' now"):
        train(tiny(tiny_data, tmp_path, f"data.manifest={tmp_path / 'other_manifest.csv'}", "resume=auto"))


def test_another_fold_is_refused_on_resume(tiny_data: Path, tmp_path: Path) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    signers = [dataclasses.replace(clip, signer_id=str(i % 6)) for i, clip in enumerate(clips)]
    write_manifest_and_label_map(tmp_path / "signers_manifest.csv", signers)
    keys = [f"data.manifest={tmp_path}/signers_manifest.csv", "data.folds=3", "logger=[]"]
    metrics = train(tiny(tiny_data, tmp_path, *keys, "data.fold=0", "trainer.max_epochs=1"))
    assert metrics["split"] == "signer, fold 0 of 3, seed 0"
    with pytest.raises(CheckpointError, match=r"fold 0 of 3, seed 0 there, signer, fold 1 of 3.*data\.fold"):
        train(tiny(tiny_data, tmp_path, *keys, "data.fold=1", "resume=auto", "trainer.max_epochs=2"))


def test_a_resumed_run_prints_changed_settings(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1"))
    assert "changed since the checkpoint" not in capsys.readouterr().out
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "resume=auto"))
    assert "changed since the checkpoint" not in capsys.readouterr().out
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    last["asl"]["settings"]["trainer"]["precision"] = "bf16-mixed"  # as of a GPU
    torch.save(last, tmp_path / "last.pt")
    changed = ["trainer.max_epochs=2", "data.balance=false", "seed=5"]
    changed += ["loss=focal", "augment.mixup=0.2", "dataset.name=other"]
    changed += [f"data.manifest={tiny_data}/metadata/tiny_manifest.csv"]
    train(tiny(tiny_data, tmp_path, *changed, "resume=auto"))
    printed = " ".join(capsys.readouterr().out.split())
    listed = printed.partition("changed since the checkpoint, used from epoch 2 on: ")[2]
    for text in (
        "data.balance=true there, false now",
        "augment.mixup=0.0 there, 0.2 now",
        "loss=cross_entropy there, focal now",
        "trainer.max_epochs=1 there, 2 now",
        "trainer.precision=bf16-mixed there, 32-true now",
        "seed=0 there, 5 now",
        "dataset.name=tiny there, other now",
    ):
        assert text in listed


def test_another_input_of_evaluation_is_refused_on_resume_and_leaves_the_results(
    tiny_data: Path, tmp_path: Path
) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))
    results = (tmp_path / "metrics.json").read_text()
    for epochs in (1, 2):  # only measured, and trained on
        keys = [f"trainer.max_epochs={epochs}", "data.frame_stride=1", "logger=[]", "resume=auto"]
        with pytest.raises(CheckpointError, match=r"another input: data\.frame_stride=2 there, 1 now\. Set"):
            train(tiny(tiny_data, tmp_path, *keys))
    assert (tmp_path / "metrics.json").read_text() == results


class Rates(pl.Callback):
    """The learning rates of the steps, and the weight decay."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.weight_decay = -1.0

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == self.rates[-1]
        self.weight_decay = optimizer.param_groups[0]["weight_decay"]


def test_a_resumed_run_follows_its_own_learning_rate_and_schedule(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=2", "data.batch_size=4"))  # 3 steps an epoch
    capsys.readouterr()
    used = Rates()
    keys = ["trainer.max_epochs=4", "data.batch_size=2", "optim.lr=1e-4", "optim.weight_decay=0.3"]
    keys += ["optim.warmup_epochs=0"]
    train(tiny(tiny_data, tmp_path, *keys, "resume=auto"), callbacks=[used])  # 6 steps an epoch
    cosine = [0.5e-4 * (1 + math.cos(math.pi * step / 24)) for step in range(12, 24)]
    assert used.rates == pytest.approx(cosine)
    assert used.weight_decay == 0.3
    printed = " ".join(capsys.readouterr().out.split())
    assert "peak learning rate 0.0001" in printed
    assert "optim.lr=0.01 there, 0.0001 now" in printed
    # A resume without changes goes on with these.
    again = Rates()
    keys[0] = "trainer.max_epochs=5"
    train(tiny(tiny_data, tmp_path, *keys, "resume=auto"), callbacks=[again])
    cosine = [0.5e-4 * (1 + math.cos(math.pi * step / 30)) for step in range(24, 30)]
    assert again.rates == pytest.approx(cosine)


def swapped(clips: list[Clip]) -> list[Clip]:
    """The clips of train are those of test and the other way round."""
    other = {"train": "test", "test": "train", "val": "val"}
    return [dataclasses.replace(clip, split=other[clip.split]) for clip in clips]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, r"12 moved from train to test \(train000, train001, .*; 6 moved from test to train"),
        (lambda clips: clips[1:], r"1 fewer in train \(train000\)"),
        (
            lambda clips: [*clips, dataclasses.replace(clips[-1], video_id="another")],
            r"1 more in test \(another\)",
        ),
        (
            lambda clips: [dataclasses.replace(clips[0], start_s=0.2), *clips[1:]],
            r"1 with another label or segment in train \(train000\)",
        ),
    ],
    ids=["swapped", "fewer", "more", "another segment"],
)
def test_other_clips_are_refused_on_resume(
    tiny_data: Path, tmp_path: Path, change: Any, message: str
) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))
    clips = change(read_manifest(tiny_data / "metadata" / "tiny_manifest.csv"))
    manifest = write_manifest_and_label_map(tmp_path / "other_manifest.csv", clips)
    keys = [f"data.manifest={manifest}", "dataset.name=other", "resume=auto"]
    for epochs in (1, 2):  # only measured, and trained on
        with pytest.raises(CheckpointError, match=message) as raised:
            train(tiny(tiny_data, tmp_path, *keys, f"trainer.max_epochs={epochs}"))
        assert "tiny_manifest.csv" in str(raised.value)
        assert "paths.checkpoint_dir" in str(raised.value)


def test_the_same_clips_in_moved_folders_are_the_same_data(tiny_data: Path, tmp_path: Path) -> None:
    first = train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))
    assert first["manifest"] == str(tiny_data / "metadata" / "tiny_manifest.csv")
    clips = [
        dataclasses.replace(clip, path=str(tiny_data / clip.path), source=f"moved/{clip.source}")
        for clip in read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    ]
    manifest = write_manifest_and_label_map(tmp_path / "moved_manifest.csv", clips)
    keys = [f"data.manifest={manifest}", "trainer.max_epochs=2", "logger=[]", "resume=auto"]
    again = train(tiny(tiny_data, tmp_path, *keys))
    assert again["epochs"] == 2
    assert again["manifest"] == str(manifest)
    assert again["digest"] == first["digest"] == read_checkpoint(tmp_path / "last.pt")["asl"]["digest"]


def test_flags_that_leave_out_other_clips_are_refused_on_resume(tiny_data: Path, tmp_path: Path) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    manifest = write_manifest_and_label_map(tmp_path / "flagged_manifest.csv", flag(clips, FLAGS))
    keys = [f"data.manifest={manifest}", "logger=[]"]
    train(tiny(tiny_data, tmp_path, *keys, "trainer.max_epochs=1"))
    with pytest.raises(CheckpointError, match=r"2 fewer in train.*data\.flags=keep"):
        train(tiny(tiny_data, tmp_path, *keys, "data.flags=drop_train", "resume=auto"))


def test_a_checkpoint_of_an_earlier_version_can_be_used_and_resumed(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))
    for name in ("last.pt", "best.pt"):
        checkpoint = read_checkpoint(tmp_path / name)
        for key in ("clips", "digest", "manifest", "settings"):
            del checkpoint["asl"][key]
        for metric in ("val_top1_clean", "val_top5_clean"):
            del checkpoint["asl"]["metrics"][metric]
        (tmp_path / name).unlink()
        torch.save(checkpoint, tmp_path / name)
    assert isinstance(restore_network(read_checkpoint(tmp_path / "best.pt")), VideoResNet)
    capsys.readouterr()
    assert train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]", "resume=auto"))["epochs"] == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "does not say the clips of each split, the settings of optim, loss" in printed
    assert "changed since" not in printed
    assert train(tiny(tiny_data, tmp_path, "trainer.max_epochs=2", "logger=[]", "resume=auto"))["epochs"] == 2
    assert "clips" in read_checkpoint(tmp_path / "last.pt")["asl"]


def test_a_warm_up_that_takes_all_epochs_and_a_key_without_effect_are_pointed_out(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["optim.warmup_epochs=2", "data.enlarge=2", "logger=[]"]
    train(tiny(tiny_data, tmp_path, *keys))
    printed = " ".join(capsys.readouterr().out.split())
    assert "optim.warmup_epochs=2 is not below trainer.max_epochs=2: the learning rate only rises" in printed
    assert "data.enlarge=2 has no effect without data.crop=signer" in printed
    train(tiny(tiny_data, tmp_path, *keys, "trainer.max_epochs=3", "resume=auto"))
    assert "optim.warmup_epochs" not in capsys.readouterr().out


def test_a_run_that_diverges_ends_and_keeps_the_checkpoints_of_the_epoch_before(
    tiny_data: Path, tmp_path: Path
) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))
    before = {name: (tmp_path / name).read_bytes() for name in ("last.pt", "best.pt", "metrics.json")}
    keys = ["trainer.max_epochs=3", "logger=[]", "resume=auto"]
    with pytest.raises(UserError, match=r"epoch 2: val_loss is nan, so training has diverged.*optim\.lr"):
        train(tiny(tiny_data, tmp_path, *keys, "optim.lr=1e30", "trainer.gradient_clip_val=0"))
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert train(tiny(tiny_data, tmp_path, *keys))["epochs"] == 3


def test_a_finished_run_is_not_resumed_in_another_folder_or_with_fewer_epochs(
    tiny_data: Path, tmp_path: Path
) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    train(tiny(tiny_data, first, "trainer.max_epochs=2", "logger=[]"))
    resume = [f"resume={first}/last.pt", "logger=[]"]
    with pytest.raises(
        CheckpointError, match=r"last\.pt is of a run that is finished: it has 2 epochs.*max_epochs above 2"
    ) as raised:
        train(tiny(tiny_data, other, *resume, "trainer.max_epochs=2"))
    assert f"paths.checkpoint_dir={first} trainer.max_epochs=2 resume={first}/last.pt" in str(raised.value)
    assert not list(other.glob("*.pt"))
    with pytest.raises(CheckpointError, match=r"it has 2 epochs, more than trainer\.max_epochs=1"):
        train(tiny(tiny_data, first, *resume, "trainer.max_epochs=1"))
    assert train(tiny(tiny_data, other, *resume, "trainer.max_epochs=3"))["epochs"] == 3


def test_the_message_about_a_best_epoch_shows_how_to_measure_it(tiny_data: Path, tmp_path: Path) -> None:
    train(tiny(tiny_data, tmp_path, "trainer.max_epochs=1", "logger=[]"))  # best.pt is of epoch 1
    last = read_checkpoint(tmp_path / "last.pt")
    last["asl"]["epoch"] = 2
    (tmp_path / "last.pt").unlink()
    torch.save(last, tmp_path / "last.pt")
    best = f"resume={tmp_path}/best.pt"
    with pytest.raises(CheckpointError) as raised:
        train(tiny(tiny_data, tmp_path / "other", best, "trainer.max_epochs=1", "logger=[]"))
    advice = f"paths.checkpoint_dir={tmp_path} trainer.max_epochs=1 {best}"
    assert advice in str(raised.value)
    assert train(tiny(tiny_data, tmp_path, *advice.split(), "logger=[]"))["best_epoch"] == 1


def flag(clips: list[Clip], flags: dict[str, str]) -> list[Clip]:
    """The clips with these flags, by video_id."""
    return [dataclasses.replace(clip, flags=flags.get(clip.video_id, "")) for clip in clips]


FLAGS = {"train000": "leakage", "train101": "suspect leakage", "train202": "duplicate", "test000": "leakage"}


def test_flagged_clips_are_counted_and_test_is_also_measured_without_them(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    every_book_of_val = {"val000": "suspect", "val001": "suspect"}
    flagged = flag(clips, FLAGS | every_book_of_val)
    manifest = write_manifest_and_label_map(tmp_path / "flagged_manifest.csv", flagged)
    metrics = train(tiny(tiny_data, tmp_path, f"data.manifest={manifest}", "trainer.max_epochs=1"))
    assert metrics["flags"] == "keep"
    assert metrics["clips"]["train"] == 12
    assert metrics["flagged"] == {
        "train": {"leakage": 2, "suspect": 1, "duplicate": 1},
        "val": {"suspect": 2},
        "test": {"leakage": 1},
    }
    assert metrics["clean_clips"] == {"train": 10, "val": 4, "test": 5}
    assert metrics["test_top1_clean"] * 5 == pytest.approx(round(metrics["test_top1_clean"] * 5), abs=1e-5)
    assert metrics["val_top1_clean"] * 4 == round(metrics["val_top1_clean"] * 4)
    assert metrics["val_top5_clean"] == 1.0
    saved = read_checkpoint(tmp_path / "best.pt")["asl"]["metrics"]
    assert saved["val_top1_clean"] == metrics["val_top1_clean"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "top-5" not in printed  # of three glosses
    assert "flags train 2 leakage, 1 suspect, 1 duplicate; val 2 suspect; test 1 leakage" in printed
    assert "of the 5 clean ones)" in printed


def test_drop_train_leaves_out_flagged_training_clips_only(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    flagged = flag(clips, FLAGS | {clip.video_id: "conflict" for clip in clips if clip.split == "val"})
    manifest = write_manifest_and_label_map(tmp_path / "flagged_manifest.csv", flagged)
    keys = [f"data.manifest={manifest}", "trainer.max_epochs=1", "data.flags=drop_train"]
    metrics = train(tiny(tiny_data, tmp_path, *keys))
    assert metrics["clips"] == {"train": 10, "val": 6, "test": 6}
    assert metrics["val_top1"] is not None
    assert metrics["val_top1_clean"] is None
    assert "2 training clips are left out" in " ".join(capsys.readouterr().out.split())
    everything = flag(clips, {clip.video_id: "suspect" for clip in clips})
    manifest = write_manifest_and_label_map(tmp_path / "all_flagged_manifest.csv", everything)
    with pytest.raises(UserError, match=r"drop_train: all training clips .*data\.flags=keep"):
        train(tiny(tiny_data, tmp_path / "none", f"data.manifest={manifest}", "data.flags=drop_train"))


def test_without_test_clips_there_is_no_test_accuracy(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [c for c in read_manifest(tiny_data / "metadata" / "tiny_manifest.csv") if c.split != "test"]
    write_manifest_and_label_map(tmp_path / "no_test_manifest.csv", clips)
    metrics = train(
        tiny(
            tiny_data, tmp_path, f"data.manifest={tmp_path / 'no_test_manifest.csv'}", "trainer.max_epochs=1"
        )
    )
    assert metrics["test_top1"] is None
    assert metrics["test_top5"] is None
    assert "not measured: the manifest has no test clips" in capsys.readouterr().out


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_shipped_experiment_composes_and_is_in_range(experiment: str) -> None:
    assert configure(f"experiment={experiment}").trainer.max_epochs > 0


def test_the_demo_experiment_has_its_own_folders() -> None:
    demo = configure("experiment=demo")
    assert (demo.paths.data_dir, demo.paths.checkpoint_dir) == ("data/demo", "checkpoints/demo")
    assert demo.model.weights is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.crop_size=129"], r"data\.crop_size=129.*data\.resize=\[128, 171\]"),
        (
            ["reader=decord", "data.resize=[20,24]", "data.crop_size=16"],
            r"data\.resize=\[20, 24\].*width of 24",
        ),
        (["augment.scale=[0.9,0.5]"], r"augment\.scale=\[0\.9, 0\.5\]"),
        (["augment.ratio=[1.5,0.5]"], r"augment\.ratio=\[1\.5, 0\.5\]"),
        (["augment.speed=[1.5,0.5]"], r"augment\.speed=\[1\.5, 0\.5\]"),
        (["data.fps=null"], r"data\.fps=null.*frames\.fps=25.*frames\.fps=null.*reader=decord"),
        (["data.fps=30"], r"data\.fps=30.*frames\.fps=25.*frames\.fps=30.*reader=decord"),
        (
            ["data.resize=[256,342]"],
            r"data\.resize=\[256, 342\].*frames\.short_side=128: set frames\.short_side=256.*"
            r"data\.resize=\[128,171\]",
        ),
        (["frames.short_side=96"], r"frames\.short_side=128.*data\.resize=\[96,128\] .*at most 96"),
        (["frames.enabled=false"], r"frames\.enabled=false.*reader=decord"),
        (["model.width=12"], r"model\.weights=kinetics400.*model\.width=12"),
        (["model.layers=[1,1]"], r"model\.weights=kinetics400.*model\.layers=\[1, 1\]"),
        (["model.layers=[1,1,1,1,1]", "model.weights=null"], r"model\.layers=\[1, 1, 1, 1, 1\]"),
        (["model.keep_glosses=true", "model.weights=null"], r"model\.keep_glosses=true: needs a checkpoint"),
        (["model=s3d", "model.keep_glosses=true", "model.weights=null"], r"keep_glosses=true: needs a chec"),
        (["trainer.devices=none"], r"trainer\.devices=none"),
    ],
)
def test_the_error_names_keys_that_contradict_each_other(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(*overrides)


def test_the_error_of_a_full_gpu_names_remedies(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(run_module.SignClassifier, "training_step", step)
    with pytest.raises(UserError) as raised:
        train(tiny(tiny_data, tmp_path, "data.batch_size=6"))
    first, second = str(raised.value).splitlines()
    assert first == "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert "data.batch_size=3 trainer.accumulate_grad_batches=2" in second
    assert "reader.placement=host" in second  # the frames are in device memory
    with pytest.raises(UserError) as raised:
        train(tiny(tiny_data, tmp_path, "data.batch_size=1", "reader.placement=host", "data.num_workers=0"))
    assert "batch_size" not in str(raised.value)
    assert "placement" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        check_devices(configure("trainer=gpu").trainer)


def test_all_problems_are_in_one_error() -> None:
    with pytest.raises(ConfigError) as caught:
        configure("data.crop_size=129", "model.width=12")
    assert "data.crop_size" in str(caught.value)
    assert "model.width" in str(caught.value)


def test_precision_auto_is_32_bit_on_a_cpu() -> None:
    assert resolve_precision("auto", "cpu") == "32-true"
    assert resolve_precision("bf16-mixed", "cpu") == "bf16-mixed"


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run on a CPU tune the network as for a GPU."""
    monkeypatch.setattr(run_module, "on_gpu", lambda accelerator: True)


def test_a_padded_run_has_unpadded_checkpoints_and_can_be_resumed_without_padding(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    precision = "trainer.precision=32-true"  # sums of more terms may be rounded differently
    train(tiny(tiny_data, tmp_path / "plain", precision, "trainer.max_epochs=1"))
    assert "planes padded" not in capsys.readouterr().out
    with monkeypatch.context() as patch:
        as_on_a_gpu(patch)
        train(tiny(tiny_data, tmp_path / "padded", precision, "trainer.max_epochs=1"))
    assert "planes padded to multiples of 8" in " ".join(capsys.readouterr().out.split())
    plain, padded = (read_checkpoint(tmp_path / name / "last.pt") for name in ("plain", "padded"))
    assert padded["asl"]["model"] == plain["asl"]["model"]
    for name, tensor in plain["state_dict"].items():
        torch.testing.assert_close(padded["state_dict"][name], tensor, rtol=1e-2, atol=1e-4)
    moments = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (plain, padded)]
    assert [m["exp_avg"].shape for m in moments[0].values()] == [
        m["exp_avg"].shape for m in moments[1].values()
    ]
    resumed = tiny(tiny_data, tmp_path / "padded", precision, "trainer.max_epochs=2", "resume=auto")
    assert train(resumed)["epochs"] == 2


def test_a_compiled_run_compiles_once_and_gives_the_same_model(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Val and test have six clips each, in batches of 4: their smaller last batches must not compile again.
    plain = train(tiny(tiny_data, tmp_path / "plain"))
    assert "not compiled (GPUs only)" in capsys.readouterr().out
    counter = CompileCounter()  # counts compilations, and runs the functions uncompiled
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    monkeypatch.setattr(run_module, "why_not_compiled", lambda *_, **__: None)
    assert train(tiny(tiny_data, tmp_path / "compiled")) == plain
    assert counter.frame_count == 2  # the network and the augmentation
    states = [read_checkpoint(tmp_path / name / "last.pt")["state_dict"] for name in ("plain", "compiled")]
    assert states_equal(*states)
    printed = capsys.readouterr().out
    assert printed.count("compiling the network") == printed.count("first step after") == 1
    assert printed.index("compiling the network") < printed.index("first step after")
    assert printed.index("first step after") < printed.index("epoch 1/2")


def test_if_torch_compile_fails_auto_does_not_compile_and_on_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Cannot find a working triton installation.\nMore about it")

    monkeypatch.setattr(torch, "compile", fail)
    assert why_not_compiled("auto", torch.device("cpu"), gains=True) == "GPUs only"
    assert why_not_compiled("off", torch.device("cuda"), gains=True) == "trainer.compile=off"
    gains_nothing = why_not_compiled("auto", torch.device("cuda"), gains=False)
    assert gains_nothing == "it gains nothing with this network"
    monkeypatch.setattr(torch, "ones", lambda *_, **__: None)  # this machine may have no GPU
    why = why_not_compiled("auto", torch.device("cuda"), gains=True)
    assert why == "torch.compile does not work here: Cannot find a working triton installation."
    with pytest.raises(ConfigError, match=r"trainer\.compile=on.*triton installation\.\)"):
        why_not_compiled("on", torch.device("cpu"), gains=True)


def test_compile_on_compiles_on_a_cpu() -> None:
    with torch.compiler.set_stance("force_eager"):
        assert why_not_compiled("on", torch.device("cpu"), gains=True) is None


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=1", "optim.lr=0.1"], "optim.lr=0.1,seed=1"),
        (["optim.lr=0.1", "seed=1", "resume=auto", "paths.checkpoint_dir=x"], "optim.lr=0.1,seed=1"),
    ],
)
def test_the_folder_of_a_job_is_named_after_its_overrides(overrides: list[str], name: str) -> None:
    assert job_name(overrides) == name


def test_different_jobs_have_different_folders() -> None:
    jobs = [
        [],
        ["a=../.."],
        ["a=[1,2]"],
        ["a=1,2"],
        ["a=/1/2"],
        ["a=_1_2"],
        ["a=" + "x" * 400],
        ["a=" + "x" * 401],
    ]
    names = [job_name(job) for job in jobs]
    assert len(set(names)) == len(names)
    assert all(0 < len(name) <= 200 and "/" not in name and not name.startswith(".") for name in names)


@pytest.mark.gpu
def test_a_gpu_run_is_mixed_precision(tiny_data: Path, tmp_path: Path) -> None:
    assert resolve_precision("auto", "gpu") in ("bf16-mixed", "16-mixed")
    used: list[str] = []

    class Precision(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            used.append(f"{trainer.precision} on {pl_module.device.type}")

    train(tiny(tiny_data, tmp_path, "trainer=gpu"), callbacks=[Precision()])
    resumed = tiny(tiny_data, tmp_path, "trainer=gpu", "trainer.max_epochs=3", "resume=auto")
    assert train(resumed, callbacks=[Precision()])["epochs"] == 3
    assert used == [f"{resolve_precision('auto', 'gpu')} on cuda"] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_gpu_run_is_compiled_and_padded_and_can_be_resumed_on_a_cpu(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    gpu = ["trainer=gpu", f"trainer.precision={precision}", "trainer.compile=on"]
    train(tiny(tiny_data, tmp_path, *gpu, "trainer.max_epochs=1"))
    printed = capsys.readouterr().out
    assert "compiled, channels last, planes padded to multiples of 8" in " ".join(printed.split())
    assert "first step after" in printed
    state = read_checkpoint(tmp_path / "last.pt")["state_dict"]
    VideoResNet("r2plus1d", num_classes=3, width=2, layers=[1, 1]).load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in state.items()}
    )
    assert train(tiny(tiny_data, tmp_path, "trainer.max_epochs=2", "resume=auto"))["epochs"] == 2
    metrics = train(tiny(tiny_data, tmp_path, *gpu, "trainer.max_epochs=3", "resume=auto"))
    assert metrics["epochs"] == 3


def test_importing_the_program_does_not_import_torch() -> None:
    import subprocess

    code = "import sys, train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CONF.parent, check=False).returncode == 0


def test_a_missing_manifest_is_a_user_error(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such manifest"):
        train(tiny(tiny_data, tmp_path, "data.manifest=nowhere.csv"))
