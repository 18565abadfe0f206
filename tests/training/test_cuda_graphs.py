"""Parts that are compiled as CUDA graphs train as without them."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from test_run import TINY, configure, states_equal, tiny
from torch import Tensor, nn

from asl.model import classifier as classifier_module
from asl.model.classifier import SignClassifier
from asl.model.compiling import compile_parts
from asl.model.networks.mvit_v2_s import MViTv2, MViTv2S
from asl.training.checkpoints import read_checkpoint
from asl.training.config import TrainConfig
from asl.training.run import train


@pytest.mark.parametrize(("cuda_graphs", "mode"), [(True, "reduce-overhead"), (False, None)])
def test_each_part_is_compiled_with_or_without_graphs(
    cuda_graphs: bool, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    monkeypatch.setattr(torch, "compile", lambda call, **keys: modes.append(keys["mode"]) or call)
    compile_parts([nn.Linear(1, 1), nn.Linear(1, 2)], cuda_graphs=cuda_graphs)
    assert modes == [mode] * 2


class Graphs(pl.Callback):
    """Takes the part of CUDA graphs: each batch overwrites the gradients that the one before has returned."""

    def __init__(self) -> None:
        self.steps_begun = 0
        self._before: dict[Tensor, Tensor | None] = {}  # gradients to which new ones are added
        self._returned: list[Tensor] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SignClassifier)
        pl_module.compile_training([], cuda_graphs=True)
        for parameter in pl_module.parameters():
            parameter.register_hook(partial(self._look_before, parameter))
            parameter.register_post_accumulate_grad_hook(self._look_after)

    def _look_before(self, parameter: Tensor, gradient: Tensor) -> None:
        self._before[parameter] = parameter.grad

    def _look_after(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        if parameter.grad is not self._before[parameter]:
            self._returned.append(parameter.grad)

    def begin_step(self) -> None:
        self.steps_begun += 1
        for gradient in self._returned:
            gradient.fill_(torch.nan)
        self._returned.clear()


@pytest.mark.parametrize("accumulated", [1, 3])
def test_gradients_of_earlier_batches_are_not_those_of_graphs(
    accumulated: int, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"trainer.accumulate_grad_batches={accumulated}", "optim.freeze_epochs=1"]
    train(tiny(tiny_data, tmp_path / "plain", *keys))
    graphs = Graphs()
    monkeypatch.setattr(classifier_module, "compile_parts", lambda parts, cuda_graphs: None)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", graphs.begin_step)
    train(tiny(tiny_data, tmp_path / "graphs", *keys), callbacks=[graphs])
    states = [read_checkpoint(tmp_path / name / "last.pt")["state_dict"] for name in ("plain", "graphs")]
    assert graphs.steps_begun == 2 * 3
    assert states_equal(*states)


class CopyBeforeEpoch(pl.Callback):
    """Copies the last checkpoint to another folder before an epoch, counted from 0."""

    def __init__(self, epoch: int, folder: Path, other: Path) -> None:
        self._epoch, self._folder, self._other = epoch, folder, other

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self._epoch:
            self._other.mkdir()
            shutil.copy(self._folder / "last.pt", self._other)


@pytest.mark.gpu
@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_network_trains_as_without_graphs_and_resumes(
    accumulated: int,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def build(settings: MViTv2S, num_classes: int) -> nn.Module:
        return MViTv2(num_classes, dropout=0.2, stochastic_depth=0.3, width=32, layers=(1, 1, 1, 1))

    def config(folder: str, *more: str) -> TrainConfig:
        keys = [key for key in TINY if not key.startswith(("model.", "trainer="))]
        keys += ["model=mvit_v2_s", "model.weights=null", "trainer=gpu", "data.batch_size=2", "optim.lr=1e-4"]
        keys += [f"trainer.accumulate_grad_batches={accumulated}", "optim.freeze_epochs=1"]
        keys += ["trainer.max_epochs=3"]
        paths = [f"paths.data_dir={tiny_data}", f"paths.checkpoint_dir={tmp_path / folder}"]
        return configure(*keys, *paths, *more)

    def state(folder: str) -> dict[str, Any]:
        result: dict[str, Any] = read_checkpoint(tmp_path / folder / "last.pt")["state_dict"]
        return result

    monkeypatch.setattr(MViTv2S, "build", build)
    train(config("graphs"), callbacks=[CopyBeforeEpoch(2, tmp_path / "graphs", tmp_path / "resumed")])
    assert "compiled as CUDA graphs" in " ".join(capsys.readouterr().out.split())
    train(config("resumed", "resume=auto"))
    capsys.readouterr()
    monkeypatch.setattr(MViTv2S, "gains_by_cuda_graphs", False)
    train(config("plain"))
    assert "CUDA graphs" not in capsys.readouterr().out
    for name, tensor in state("plain").items():
        torch.testing.assert_close(state("graphs")[name], tensor, msg=name)
        torch.testing.assert_close(state("resumed")[name], tensor, msg=name)
