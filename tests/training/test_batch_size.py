"""``trainer.batch=auto``: which batch is the largest, with a fake device, and what a run makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from test_run import states_equal, tiny

from asl.config.setting import ConfigError
from asl.data.datamodule import ClipDataModule
from asl.data.frames.placement import AUTO, DEVICE, HOST, choose_placement
from asl.training import batch_size as batch_size_module
from asl.training import run as run_module
from asl.training.batch_size import Trial, find_batch_size, largest_batch, trial_step, usable_memory
from asl.training.checkpoints import read_checkpoint
from asl.training.device_errors import DeviceMemoryError
from asl.training.run import train

GB = 1 << 30


class Device:
    """A device on which a clip takes so many GB, of which there are 64."""

    def __init__(self, clip_gb: float) -> None:
        self.clip_gb = clip_gb
        self.tried: list[int] = []

    def __call__(self, batch_size: int) -> Trial:
        self.tried.append(batch_size)
        if batch_size * self.clip_gb > 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return Trial(batch_size, seconds=1.0, num_bytes=round(batch_size * self.clip_gb * GB))


def find(device: Device, predicted_gb: float | None, most: int = 1000) -> int:
    def predicted(batch_size: int) -> int | None:
        return None if predicted_gb is None else round(batch_size * predicted_gb * GB)

    return largest_batch(device, predicted=predicted, usable=58 * GB, most=most).batch_size


@pytest.mark.parametrize(
    ("clip_gb", "predicted_gb", "most", "tried"),
    [
        (1.0, 1.0, 1000, [56]),
        (1.0, 0.5, 1000, [112, 80, 56]),  # the prediction is too low
        (9.0, 9.0, 1000, [6]),
        (1.0, None, 100, [96, 72, 48]),
        (1.0, 1.0, 20, [16]),
        (1.0, 1.0, 0, [1]),  # fewer clips than steps
        (60.0, 60.0, 1000, [1]),  # more than predicted may be used, by one clip
    ],
)
def test_the_prediction_is_tried_and_reduced_until_it_fits(
    clip_gb: float, predicted_gb: float | None, most: int, tried: list[int]
) -> None:
    device = Device(clip_gb)
    assert find(device, predicted_gb, most) == tried[-1]
    assert device.tried == tried


@pytest.mark.parametrize(
    ("placement", "frames_gb", "where"),
    [(AUTO, 8, DEVICE), (AUTO, 20, DEVICE), (AUTO, 21, HOST), (DEVICE, 40, DEVICE), (HOST, 8, HOST)],
)
def test_the_largest_batch_leaves_their_place_to_the_frames(
    placement: str, frames_gb: int, where: str
) -> None:
    free, frames = 80 * GB, frames_gb * GB
    usable = usable_memory(free, frames=frames, placement=placement)
    chosen = choose_placement(placement, device_type="cuda", frames=frames, free=free, reserve=usable)
    assert chosen.where == where
    assert usable == 72 * GB - (frames if where == DEVICE else 0)  # all that is left


def test_the_batch_of_a_run_leaves_its_frames_their_place(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size_module, "free_memory", lambda device: 80 * GB)
    monkeypatch.setattr(batch_size_module, "largest_batch", lambda trial, *, usable, **_: usable)
    monkeypatch.setattr(ClipDataModule, "frames_bytes", lambda self: 40 * GB)
    usable = {}
    for placement in (DEVICE, HOST):
        config = tiny(tiny_data, tmp_path, f"reader.placement={placement}")
        datamodule = run_module._build_datamodule(config)
        usable[placement] = find_batch_size(config, datamodule, torch.device("cuda"))
    assert usable == {DEVICE: 32 * GB, HOST: 72 * GB}


def test_a_clip_that_does_not_fit_is_an_error_with_remedies() -> None:
    with pytest.raises(DeviceMemoryError, match=r"not even one clip.*data\.crop_size"):
        find(Device(65.0), 1.0)


def test_other_errors_of_a_trial_are_not_hidden() -> None:
    def broken(batch_size: int) -> Trial:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        largest_batch(broken, predicted=lambda size: 1, usable=1, most=8)


def test_a_trial_changes_no_random_number(tiny_data: Path, tmp_path: Path) -> None:
    config = tiny(tiny_data, tmp_path)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    trial = trial_step(config, 4, num_classes=3, device=torch.device("cpu"), precision="32-true")
    assert (trial.batch_size, trial.num_bytes) == (4, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_has_the_batch_that_was_found_and_a_resumed_one_keeps_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Trial(3, seconds=30.0, num_bytes=5 * GB)]
    monkeypatch.setattr(run_module, "find_batch_size", lambda *_: found.pop())
    keys = ["logger=[]", "trainer.batch=auto"]
    train(tiny(tiny_data, tmp_path / "auto", *keys, "trainer.max_epochs=1"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 clips of 4 frames" in printed
    assert "a step took 5.4 GB and 30.00 s, not compiled: at most about 2.0 min" in printed
    train(tiny(tiny_data, tmp_path / "auto", *keys, "resume=auto"))
    train(tiny(tiny_data, tmp_path / "fixed", "logger=[]", "data.batch_size=3"))
    states = [read_checkpoint(tmp_path / name / "last.pt") for name in ("auto", "fixed")]
    assert [state["asl"]["settings"]["data"]["batch_size"] for state in states] == [3, 3]
    assert states_equal(states[0]["state_dict"], states[1]["state_dict"])


def test_without_a_gpu_the_batch_is_that_of_the_key(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tiny_data, tmp_path, "logger=[]", "trainer.batch=auto", "trainer.max_epochs=1"))
    settings: dict[str, Any] = read_checkpoint(tmp_path / "last.pt")["asl"]["settings"]
    assert settings["data"]["batch_size"] == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "attention trainer.batch=auto: there is no GPU, so data.batch_size is used" in printed


def test_several_devices_need_a_batch_size(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"for one device, not 2: set trainer\.batch=fixed and"):
        train(tiny(tiny_data, tmp_path, "trainer.batch=auto", "trainer.devices=2"))


def test_the_large_input_is_an_experiment_for_any_network() -> None:
    for model in ("r2plus1d", "s3d", "swin3d_t"):
        config = composed("train", "experiment=wlasl100_224x64", f"model={model}")
        data = config.data
        assert (data.clip_len, data.crop_size, data.resize, config.frames.short_side) == (
            *(64, 224, [256, 342], 256),
        )
        assert (config.model.name, config.trainer.batch) == (model, "auto")
    with pytest.raises(ConfigError, match=r"find_lr=true: is for one batch size"):
        composed("train", "experiment=wlasl100_224x64", "find_lr=true")
