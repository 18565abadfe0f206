"""Early stopping, averaged weights, frozen first epochs: what they do, and that resuming continues them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from test_run import kill_after_epoch, states_equal, tiny
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from asl.model.backbone import Backbone
from asl.model.metrics import SplitMetrics
from asl.training import run as run_module
from asl.training.checkpoints import CheckpointError, read_checkpoint, restore_network
from asl.training.run import train

EMA = "optim.ema_decay=0.8"
FREEZE = "optim.freeze_epochs=2"
STOP = ["trainer.early_stopping=val_top1", "trainer.patience=2"]
NO_LOGS = "logger=[]"


class Recorder(pl.Callback):
    """Keeps the network's state at the start, after each step, and at each validation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def _state(self, module: pl.LightningModule) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in module.state_dict().items()}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.steps.append(self._state(pl_module))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.steps.append(self._state(pl_module))

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.validated.append(self._state(pl_module))


@pytest.mark.parametrize(
    ("keys", "epoch"), [([EMA], 1), ([EMA, FREEZE, *STOP], 1), ([EMA, FREEZE, *STOP], 3)]
)
def test_a_run_that_is_killed_and_resumed_equals_an_uninterrupted_one(
    tiny_data: Path, tmp_path: Path, keys: list[str], epoch: int
) -> None:
    keys = [*keys, "trainer.max_epochs=4", NO_LOGS]
    whole = train(tiny(tiny_data, tmp_path / "whole", *keys))
    kill_after_epoch(epoch, tiny(tiny_data, tmp_path / "broken", *keys))
    assert train(tiny(tiny_data, tmp_path / "broken", *keys, "resume=auto")) == whole
    for name in ("last.pt", "best.pt"):
        first, second = (read_checkpoint(tmp_path / folder / name) for folder in ("whole", "broken"))
        assert first["asl"] == second["asl"]
        for key in ("state_dict", "current_model_state", "averaging_state"):
            assert states_equal(first.get(key, {}), second.get(key, {}))
    histories = [(tmp_path / folder / "history.csv").read_bytes() for folder in ("whole", "broken")]
    assert histories[0] == histories[1]


def test_averaged_weights_are_what_is_measured_kept_and_tested(tiny_data: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    metrics = train(tiny(tiny_data, tmp_path, EMA, NO_LOGS), callbacks=[recorder])
    first, *others = recorder.steps[1:]
    average = dict(first)
    for weights in others:
        average = {
            name: torch.lerp(one, weights[name], 1 - 0.8) if one.is_floating_point() else one
            for name, one in average.items()
        }
    last = read_checkpoint(tmp_path / "last.pt")
    for name, expected in average.items():
        if expected.is_floating_point():
            torch.testing.assert_close(last["state_dict"][name], expected)
            torch.testing.assert_close(recorder.validated[-1][name], expected)
            assert torch.equal(last["current_model_state"][name], recorder.steps[-1][name])
    assert not torch.equal(last["state_dict"]["model.fc.weight"], recorder.steps[-1]["model.fc.weight"])
    assert any("running_var" in name for name in average)  # averaged, too
    network = restore_network(read_checkpoint(tmp_path / "best.pt"))
    assert metrics["test_top1"] == pytest.approx(accuracy(network, tiny_data, tmp_path))


def accuracy(network: nn.Module, data_dir: Path, folder: Path) -> float:
    """Top-1 accuracy on test, computed without Lightning."""
    data = run_module._build_datamodule(tiny(data_dir, folder))
    data.prepare_data()
    data.setup()
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()]
    with torch.no_grad():
        right = [network(batch["video"]).argmax(1) == batch["label"] for batch in batches]
    return float(torch.cat(right).float().mean())


def test_the_test_measures_the_average_and_not_the_weights(tiny_data: Path, tmp_path: Path) -> None:
    tested: list[dict[str, Tensor]] = []

    class Tested(pl.Callback):
        def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            tested.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    train(tiny(tiny_data, tmp_path, EMA, NO_LOGS, "trainer.max_epochs=1"), callbacks=[Tested()])
    train(
        tiny(tiny_data, tmp_path, EMA, NO_LOGS, "trainer.max_epochs=1", "resume=auto"), callbacks=[Tested()]
    )
    best = read_checkpoint(tmp_path / "best.pt")["state_dict"]
    assert len(tested) == 2
    assert all(states_equal(one, best) for one in tested)


def test_a_run_with_averaged_weights_is_not_resumed_without_and_one_without_is_resumed_with(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    train(tiny(tiny_data, tmp_path, NO_LOGS, "trainer.max_epochs=1"))
    plain = read_checkpoint(tmp_path / "last.pt")["state_dict"]
    recorder = Recorder()
    train(tiny(tiny_data, tmp_path, NO_LOGS, EMA, "resume=auto"), callbacks=[recorder])
    assert states_equal(recorder.steps[0], plain)
    assert "optim.ema_decay=null there, 0.8 now" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CheckpointError, match=r"\(optim\.ema_decay=0\.8 there, null now\).*model\.weights="):
        train(tiny(tiny_data, tmp_path, NO_LOGS, "trainer.max_epochs=3", "resume=auto"))
    keys = [NO_LOGS, "optim.ema_decay=0.5", "trainer.max_epochs=3", "resume=auto"]
    assert train(tiny(tiny_data, tmp_path, *keys))["epochs"] == 3
    assert not [one for one in recwarn if "WeightAveraging" in str(one.message)]


def test_the_first_epochs_train_only_the_classifier(tiny_data: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    train(tiny(tiny_data, tmp_path, FREEZE, NO_LOGS, "trainer.max_epochs=3"), callbacks=[recorder])
    start, frozen, end = recorder.steps[0], recorder.steps[:7], recorder.steps[-1]  # three steps an epoch
    for name, tensor in start.items():
        changes = [not torch.equal(state[name], tensor) for state in frozen[1:]]
        assert all(changes) if name.startswith("model.fc.") else not any(changes), name
        assert not torch.equal(end[name], tensor), name
    steps = read_checkpoint(tmp_path / "last.pt")["optimizer_states"][0]["state"].values()
    assert sorted({float(one["step"]) for one in steps}) == [3, 9]  # frozen ones begin when they join


def test_frozen_epochs_are_those_of_the_run_that_is_resumed(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tiny_data, tmp_path, FREEZE, NO_LOGS, "trainer.max_epochs=1"))
    recorder = Recorder()
    train(tiny(tiny_data, tmp_path, "optim.freeze_epochs=0", NO_LOGS, "resume=auto"), callbacks=[recorder])
    name = next(key for key in recorder.steps[0] if not key.startswith("model.fc."))
    assert not torch.equal(recorder.steps[0][name], recorder.steps[-1][name])
    assert "optim.freeze_epochs=2 there, 0 now" in " ".join(capsys.readouterr().out.split())


def test_gradients_that_several_ranks_compute_for_frozen_parameters_have_no_effect(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [FREEZE, NO_LOGS, "trainer.max_epochs=3"]
    train(tiny(tiny_data, tmp_path / "one", *keys))
    freeze = Backbone.freeze
    monkeypatch.setattr(
        Backbone, "freeze", lambda self, frozen, backward: freeze(self, frozen, backward=True)
    )
    train(tiny(tiny_data, tmp_path / "several", *keys))
    states = [read_checkpoint(tmp_path / name / "last.pt")["state_dict"] for name in ("one", "several")]
    assert states_equal(*states)


def test_a_compiled_network_is_compiled_once_more_when_it_is_unfrozen(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [FREEZE, EMA, NO_LOGS, "trainer.max_epochs=4"]
    plain = train(tiny(tiny_data, tmp_path / "plain", *keys))
    counter = CompileCounter()  # counts compilations, and runs the functions uncompiled
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    monkeypatch.setattr(run_module, "why_not_compiled", lambda *_, **__: None)
    assert train(tiny(tiny_data, tmp_path / "compiled", *keys)) == plain
    assert counter.frame_count == 3  # the network twice, and the augmentation
    states = [read_checkpoint(tmp_path / name / "last.pt")["state_dict"] for name in ("plain", "compiled")]
    assert states_equal(*states)


class Accuracies(pl.Callback):
    """Gives each epoch an accuracy on val instead of its own."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        metrics, top1 = pl_module.val_metrics, torch.tensor(self.values[trainer.current_epoch])
        metrics.compute = lambda device: {**SplitMetrics.compute(metrics, device), "top1": top1}


def test_a_run_stops_after_epochs_without_a_better_accuracy(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = [Accuracies(0.2, 0.5, 0.4, 0.5, 0.6, 0.7)]
    keys = [*STOP, NO_LOGS, "trainer.max_epochs=6"]
    metrics = train(tiny(tiny_data, tmp_path, *keys), callbacks=accuracies)
    assert (metrics["epochs"], metrics["best_epoch"]) == (4, 2)  # an equal one is not better
    printed = " ".join(capsys.readouterr().out.split())
    assert "ends after 2 without a better val_top1" in printed
    assert "2 epochs without a better val_top1: training ends" in printed

    assert train(tiny(tiny_data, tmp_path, *keys, "resume=auto"), callbacks=accuracies) == metrics
    assert "6, stopped early after 4: only test is measured" in " ".join(capsys.readouterr().out.split())
    assert read_checkpoint(tmp_path / "last.pt")["asl"]["epoch"] == 4
    with pytest.raises(CheckpointError, match=r"stopped early, after 4 epochs.*trainer\.patience"):
        train(tiny(tiny_data, tmp_path / "other", *keys, f"resume={tmp_path}/last.pt"), callbacks=accuracies)

    metrics = train(
        tiny(tiny_data, tmp_path, *keys, "trainer.patience=3", "resume=auto"), callbacks=accuracies
    )
    assert (metrics["epochs"], metrics["best_epoch"]) == (6, 6)
    assert "trainer.patience=2 there, 3 now" in " ".join(capsys.readouterr().out.split())


def test_a_stopped_run_goes_on_without_early_stopping(
    tiny_data: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    accuracies = [Accuracies(0.5, 0.4, 0.3, 0.2)]
    keys = [NO_LOGS, "trainer.max_epochs=4"]
    assert train(tiny(tiny_data, tmp_path, *keys, *STOP), callbacks=accuracies)["epochs"] == 3
    assert train(tiny(tiny_data, tmp_path, *keys, "resume=auto"), callbacks=accuracies)["epochs"] == 4
    assert not [one for one in recwarn if "callbacks used to create" in str(one.message)]
