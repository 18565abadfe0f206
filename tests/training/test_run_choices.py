"""Each choice of a training run has its effect: networks, losses, readers, sampling, steps, logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from clips import GLOSSES
from test_run import TINY, configure, states_equal, tiny
from torch import Tensor, nn
from torchvision.models.video.resnet import Conv2Plus1D, Conv3DNoTemporal, Conv3DSimple

from asl.contract.manifest import read_manifest
from asl.data import datamodule as datamodule_module
from asl.data.datamodule import ClipDataModule
from asl.messages import format_bytes
from asl.model.losses.focal import FocalLoss
from asl.model.networks.swin3d import Swin3DT
from asl.training.checkpoints import read_checkpoint
from asl.training.run import train

FRAMES_PER_CLIP = 12  # of every clip of the tiny data set
TRAIN_CLIPS = 12


class Recorder(pl.Callback):
    """Keeps what a run built, and the training batches."""

    def __init__(self) -> None:
        self.module: Any = None
        self.trainer: Any = None
        self.initial: dict[str, Tensor] = {}
        self.batches: list[dict[str, Tensor]] = []
        self.num_workers = -1

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trainer, self.module = trainer, pl_module
        self.initial = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.batches.append(batch)
        loader: Any = trainer.train_dataloader
        self.num_workers = getattr(loader, "num_workers", 0)


def run(data_dir: Path, folder: Path, *overrides: str) -> Recorder:
    """Train for one epoch with ``overrides``."""
    recorder = Recorder()
    train(tiny(data_dir, folder, "trainer.max_epochs=1", *overrides), callbacks=[recorder])
    return recorder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The frames of each training clip that a run draws, ``(T,)`` indices within the clip."""
    frames: list[Tensor] = []
    uint8_video = ClipDataModule.uint8_video

    def record(self: ClipDataModule, batch: dict[str, Tensor]) -> Tensor:
        if self.trainer is not None and self.trainer.training:
            frames.extend(batch["frames"] % FRAMES_PER_CLIP)
        return uint8_video(self, batch)

    monkeypatch.setattr(ClipDataModule, "uint8_video", record)
    return frames


@pytest.mark.parametrize(
    ("model", "convolutions"),
    [
        ("r2plus1d", {Conv2Plus1D}),
        ("r3d", {Conv3DSimple}),
        ("mc3", {Conv3DSimple, Conv3DNoTemporal}),
    ],
)
def test_model_selects_the_network(
    tiny_data: Path, tmp_path: Path, model: str, convolutions: set[type]
) -> None:
    made = run(tiny_data, tmp_path, f"model={model}", "logger=[]")
    found = {type(layer) for layer in made.module.model.modules()}
    assert found & {Conv2Plus1D, Conv3DSimple, Conv3DNoTemporal} == convolutions
    last = read_checkpoint(tmp_path / "last.pt")
    assert last["asl"]["model"] == {"name": model, "width": 2, "layers": [1, 1], "dropout": 0.3}
    assert last["asl"]["network"].startswith(f"asl.model.networks.{model}.")
    assert not torch.equal(last["state_dict"]["model.fc.weight"], made.initial["model.fc.weight"])


def test_loss_selects_the_loss(tiny_data: Path, tmp_path: Path) -> None:
    made = run(tiny_data, tmp_path / "focal", "loss=focal", "loss.gamma=3")
    assert isinstance(made.module.loss, FocalLoss)
    assert (made.module.loss.gamma, made.module.loss.label_smoothing) == (3.0, 0.1)
    made = run(tiny_data, tmp_path / "cross_entropy", "loss.label_smoothing=0.2")
    assert isinstance(made.module.loss, nn.CrossEntropyLoss)
    assert made.module.loss.label_smoothing == 0.2


def test_native_frames_are_stored_and_drawn(tiny_data: Path, tmp_path: Path, drawn: list[Tensor]) -> None:
    frames_dir = tmp_path / "frames"
    run(tiny_data, tmp_path, "data.fps=null", "frames.fps=null", f"paths.frames_dir={frames_dir}")
    assert [folder.name for folder in frames_dir.iterdir()] == ["native_128px"]
    assert len(list((frames_dir / "native_128px").glob("*.safetensors"))) == 24
    assert read_checkpoint(tmp_path / "last.pt")["asl"]["sampling"]["fps"] is None
    assert len(drawn) == TRAIN_CLIPS


def test_short_clips_are_padded_as_chosen(tiny_data: Path, tmp_path: Path, drawn: list[Tensor]) -> None:
    keys = ["data.clip_len=8", "data.frame_stride=2", "augment.speed=[1,1]"]  # 15 of 12 frames
    run(tiny_data, tmp_path / "loop", *keys, "data.pad=loop")
    assert all((frames.diff() % FRAMES_PER_CLIP == 2).all() for frames in drawn)
    assert all((frames.diff() < 0).any() for frames in drawn)
    drawn.clear()
    run(tiny_data, tmp_path / "edge", *keys, "data.pad=edge")
    assert all((frames.diff() >= 0).all() and frames[-1] == FRAMES_PER_CLIP - 1 for frames in drawn)
    sampling = [read_checkpoint(tmp_path / pad / "last.pt")["asl"]["sampling"] for pad in ("loop", "edge")]
    assert [one["pad"] for one in sampling] == ["loop", "edge"]


def test_long_clips_are_drawn_as_chosen(tiny_data: Path, tmp_path: Path, drawn: list[Tensor]) -> None:
    run(tiny_data, tmp_path / "window", "data.long=window", "augment.speed=[1,1]")
    assert all((frames.diff() == 2).all() for frames in drawn)
    drawn.clear()
    run(tiny_data, tmp_path / "uniform", "data.long=uniform", "augment.speed=[1,1]")
    parts = torch.tensor([0, 3, 6, 9])  # four frames of 12: one of each three
    assert all(((frames >= parts) & (frames < parts + 3)).all() for frames in drawn)


def test_speed_decides_how_much_of_a_clip_is_covered(
    tiny_data: Path, tmp_path: Path, drawn: list[Tensor]
) -> None:
    run(tiny_data, tmp_path, "augment.speed=[0.5,0.5]")
    assert all(frames.max() - frames.min() <= FRAMES_PER_CLIP / 2 for frames in drawn)
    assert len({int(frames[0]) for frames in drawn}) > 1


def test_without_balance_every_clip_is_drawn_once(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips: list[int] = []
    uint8_video = ClipDataModule.uint8_video

    def record(self: ClipDataModule, batch: dict[str, Tensor]) -> Tensor:
        if self.trainer is not None and self.trainer.training:
            clips.extend((batch["frames"][:, 0] // FRAMES_PER_CLIP).tolist())
        return uint8_video(self, batch)

    monkeypatch.setattr(ClipDataModule, "uint8_video", record)
    run(tiny_data, tmp_path / "all", "data.balance=false")
    assert sorted(clips) == list(range(TRAIN_CLIPS))
    clips.clear()
    run(tiny_data, tmp_path / "balanced")
    assert len(clips) == TRAIN_CLIPS > len(set(clips))  # with replacement


def test_augmentation_reaches_the_frames(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Any] = []
    augment = datamodule_module.augment

    def record(video: Tensor, uniforms: Tensor, **settings: Any) -> Tensor:
        used.append(settings["augmentation"])
        return augment(video, uniforms, **settings)

    monkeypatch.setattr(datamodule_module, "augment", record)
    run(tiny_data, tmp_path, "augment.hflip=true", "augment.rotation=10", "augment.brightness=0")
    assert len(used) == 1 + 3  # the page of the input, and batches; none of val and test
    assert all((one.hflip, one.rotation, one.brightness) == (True, 10.0, 0.0) for one in used)


def test_mixup_gives_each_step_two_labels_and_a_share(tiny_data: Path, tmp_path: Path) -> None:
    made = run(tiny_data, tmp_path / "mixup", "augment.mixup=0.4")
    for batch in made.batches:
        assert torch.equal(batch["mixed_label"], batch["label"].flip(0))
        assert 0 <= batch["mix"] <= 1
    assert len({float(batch["mix"]) for batch in made.batches}) == 3
    assert all("mix" not in batch for batch in run(tiny_data, tmp_path / "plain").batches)


def test_gradients_are_clipped_to_the_chosen_norm(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    clip_grad_norm_ = nn.utils.clip_grad_norm_

    def record(parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Tensor:
        norms.append(max_norm)
        return clip_grad_norm_(parameters, max_norm, *args, **kwargs)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", record)
    run(tiny_data, tmp_path / "clipped", "trainer.gradient_clip_val=0.5")
    assert norms == [0.5] * 3
    norms.clear()
    run(tiny_data, tmp_path / "free", "trainer.gradient_clip_val=0")
    assert norms == []


def test_accumulation_makes_fewer_steps(tiny_data: Path, tmp_path: Path) -> None:
    made = run(tiny_data, tmp_path, "trainer.accumulate_grad_batches=3")
    assert len(made.batches) == 3
    assert made.trainer.global_step == 1
    assert read_checkpoint(tmp_path / "last.pt")["global_step"] == 1


def test_reader_decord_stores_no_frames(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames_dir = tmp_path / "frames"
    keys = ["reader=decord", "data.fps=null", "data.num_workers=2", f"paths.frames_dir={frames_dir}"]
    made = run(tiny_data, tmp_path, *keys)
    assert not frames_dir.exists()
    assert made.num_workers == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "not stored: clips are decoded when they are drawn" in printed
    assert "2 reader processes" in printed


def test_placement_does_not_change_the_model(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_device = run(tiny_data, tmp_path / "device", "reader.placement=device", "data.num_workers=2")
    on_host = run(tiny_data, tmp_path / "host", "reader.placement=host", "data.num_workers=2")
    assert (on_device.num_workers, on_host.num_workers) == (0, 0)  # threads read stored frames
    states = [read_checkpoint(tmp_path / name / "last.pt")["state_dict"] for name in ("device", "host")]
    assert states_equal(*states)
    printed = " ".join(capsys.readouterr().out.split())
    clips = {clip.video_id for clip in read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")}
    files = (tiny_data / "frames" / "25fps_128px").glob("*.safetensors")
    stored = sum(file.stat().st_size for file in files if file.stem in clips)
    assert "frames 24 clips, 1 MB, in RAM" in printed  # resized
    assert f"frames 24 clips, {format_bytes(stored)}, on disk, as requested" in printed


@pytest.mark.parametrize("loggers", [[], ["csv"], ["tensorboard"], ["tensorboard", "csv"]], ids=str)
def test_only_the_chosen_logs_are_written(tiny_data: Path, tmp_path: Path, loggers: list[str]) -> None:
    run(tiny_data, tmp_path, f"logger=[{','.join(loggers)}]")
    logs = tmp_path / "logs"
    assert sorted(folder.name for folder in logs.glob("*")) == sorted(loggers)


def test_a_batch_size_above_the_number_of_clips_makes_one_batch_of_all(
    tiny_data: Path, tmp_path: Path
) -> None:
    made = run(tiny_data, tmp_path, "data.batch_size=64")
    assert [len(batch["label"]) for batch in made.batches] == [TRAIN_CLIPS]
    assert set(made.batches[0]["label"].tolist()) == set(range(len(GLOSSES)))


def test_what_makes_steps_faster_can_be_switched_off(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def is_channels_last(made: Recorder) -> bool:
        weight = made.module.model.stem[0].weight
        return bool(weight.is_contiguous(memory_format=torch.channels_last_3d))

    off = ["model.channels_last=false", "optim.fused=false", "trainer.compile=off"]
    made = run(tiny_data, tmp_path / "off", *off)
    printed = " ".join(capsys.readouterr().out.split())
    assert "not compiled (trainer.compile=off), channels first" in printed
    assert not is_channels_last(made)
    assert not made.module.compiled
    assert made.trainer.optimizers[0].defaults["fused"] is False
    assert is_channels_last(run(tiny_data, tmp_path / "on"))
    assert "not compiled (GPUs only), channels last" in " ".join(capsys.readouterr().out.split())


def test_clips_are_normalised_as_the_network_was_pretrained(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Swin3DT, "width", 32)
    monkeypatch.setattr(Swin3DT, "layers", (1, 1, 1, 1))
    recorder = Recorder()
    keys = [key for key in TINY if not key.startswith(("model.width", "model.layers", "model.dropout"))]
    keys += [f"paths.data_dir={tiny_data}", f"paths.checkpoint_dir={tmp_path}", "model=swin3d_t"]
    keys += ["trainer.max_epochs=1", "augment.brightness=0", "augment.contrast=0", "augment.saturation=0"]
    train(configure(*keys), callbacks=[recorder])
    std = torch.tensor(Swin3DT.std)
    # Grey in all channels; normalised with another mean, the channels would differ.
    grey = recorder.batches[0]["video"].mean(dim=(0, 2, 3, 4)) * std + torch.tensor(Swin3DT.mean)
    torch.testing.assert_close(grey, grey.mean().expand(3), atol=0.01, rtol=0)
    info = read_checkpoint(tmp_path / "best.pt")["asl"]
    assert (info["mean"], info["std"]) == (list(Swin3DT.mean), list(Swin3DT.std))
