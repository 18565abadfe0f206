"""Several ranks: who starts them, what they share, and what happens if one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import programs
import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from gradients_of_two_ranks import ACCUMULATED, RANKS, buffers, inputs, layouts, network
from lightning_fabric.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.strategies import DDPStrategy
from run_of_two_ranks import EPOCHS
from test_run import tiny
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asl.config.setting import ConfigError
from asl.errors import Terminated
from asl.model import ranks
from asl.model.classifier import SignClassifier
from asl.model.networks.norm_relu import NormRelu3d
from asl.model.ranks import average_gradients
from asl.training import run as run_module
from asl.training.checkpoints import read_checkpoint
from asl.training.config import TrainConfig
from asl.training.console import _more_gpus
from asl.training.ranks import check_ranks, cluster_plugins, data_parallel
from asl.training.run import train
from asl.training.trainer import build_trainer, check_devices

HERE = Path(__file__).resolve().parent
PYTHONPATH = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))


class SignalAtStep(pl.Callback):
    """Sends a signal to this process in a step, counted from 0."""

    def __init__(self, signum: int, step: int) -> None:
        self.signum, self.step = signum, step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            signal.raise_signal(self.signum)


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM job of one task. Returns the file with the arguments with which scontrol was called."""
    called, program = tmp_path / "scontrol.txt", tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in {"JOB_ID": "17", "NTASKS": "1", "JOB_NAME": "asl"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return called


def test_a_run_that_slurm_preempts_ends_with_its_epoch_and_is_requeued(
    tiny_data: Path, tmp_path: Path, scontrol: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    through, broken = (tiny(tiny_data, tmp_path / name, "logger=[]") for name in ("through", "broken"))
    whole = train(through)
    with pytest.raises(Terminated):
        train(broken, callbacks=[SignalAtStep(signal.SIGUSR1, 1)])
    assert read_checkpoint(tmp_path / "broken" / "last.pt")["asl"]["epoch"] == 1
    assert scontrol.read_text() == "requeue 17\n"
    assert "job 17 is requeued" in capfd.readouterr().out
    assert train(tiny(tiny_data, tmp_path / "broken", "logger=[]", "resume=auto")) == whole


def test_a_preempted_run_whose_time_is_up_is_requeued_at_once(
    tiny_data: Path, tmp_path: Path, scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "16")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    ends = [SignalAtStep(signal.SIGUSR1, 4), SignalAtStep(signal.SIGTERM, 5)]
    with pytest.raises(Terminated):
        train(tiny(tiny_data, tmp_path / "run", "logger=[]"), callbacks=ends)
    assert read_checkpoint(tmp_path / "run" / "last.pt")["asl"]["epoch"] == 1
    assert scontrol.read_text() == "requeue 16_3\n"


def test_a_run_that_ends_by_sigterm_alone_is_not_requeued(
    tiny_data: Path, tmp_path: Path, scontrol: Path
) -> None:
    """Such as by scancel."""
    with pytest.raises(Terminated):
        train(tiny(tiny_data, tmp_path / "run", "logger=[]"), callbacks=[SignalAtStep(signal.SIGTERM, 1)])
    assert not scontrol.exists()


def test_sigusr1_in_the_last_epoch_ends_nothing(tiny_data: Path, tmp_path: Path, scontrol: Path) -> None:
    metrics = train(tiny(tiny_data, tmp_path, "logger=[]"), callbacks=[SignalAtStep(signal.SIGUSR1, 4)])
    assert metrics["epochs"] == 2
    assert not scontrol.exists()


def test_a_job_that_cannot_be_requeued_says_so(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(Terminated):
        train(tiny(tiny_data, tmp_path, "logger=[]"), callbacks=[SignalAtStep(signal.SIGUSR1, 1)])
    assert "job 17 could not be requeued" in capfd.readouterr().err


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank of gradients_of_two_ranks.py has found."""
    folder = tmp_path_factory.mktemp("two_ranks")
    done = programs.run(HERE / "gradients_of_two_ranks.py", folder, env={"PYTHONPATH": PYTHONPATH})
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def test_two_ranks_take_the_steps_of_one_process_with_the_clips_of_both(
    two_ranks: list[dict[str, Any]],
) -> None:
    alone = network(rank=0)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    steps = inputs().split(ACCUMULATED)
    for step in steps:
        optimizer.zero_grad()
        # Lightning divides by ACCUMULATED in the last step of an epoch, too.
        (alone(step.flatten(0, 1)).square().mean() * len(step) / ACCUMULATED).backward()
        optimizer.step()

    for rank in two_ranks:
        assert rank["trained"].keys() == alone.state_dict().keys()
        for name, values in alone.state_dict().items():
            torch.testing.assert_close(rank["trained"][name], values)
            assert torch.equal(rank["trained"][name], two_ranks[0]["trained"][name])
        assert rank["exchanges"] == len(steps)
    assert not torch.equal(two_ranks[0]["trained"]["0.weight"], network(rank=0).state_dict()["0.weight"])


def test_gradients_of_all_layouts_and_dtypes_are_averaged(two_ranks: list[dict[str, Any]]) -> None:
    for rank in two_ranks:
        for parameter, gradient in zip(layouts(rank=0), rank["gradients"], strict=True):
            if not parameter.requires_grad:
                assert gradient is None
                continue
            assert parameter.grad is not None
            assert torch.equal(gradient, parameter.grad * 2)  # the mean of one and of three times it
            assert gradient.dtype == parameter.dtype
            assert gradient.stride() == parameter.stride()


def test_tensors_of_the_first_rank_are_shared(two_ranks: list[dict[str, Any]]) -> None:
    for rank in two_ranks:
        for ours, first in zip(rank["shared"], buffers(rank=0), strict=True):
            assert torch.equal(ours, first)
            assert ours.dtype == first.dtype


def test_ranks_whose_gradients_or_networks_differ_are_an_error(two_ranks: list[dict[str, Any]]) -> None:
    for rank in two_ranks:
        assert rank["without a gradient"].startswith("1 has no gradient after a backward pass.")
    assert "another network" not in two_ranks[0]
    assert two_ranks[1]["another network"].startswith(
        "rank 1 has built another network than rank 0: ('weight', (2, 4), torch.float32) instead of "
        "('weight', (1, 4), torch.float32)."
    )


def test_nccl_divides_by_the_number_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    operations: list[Any] = []
    parameters = layouts(rank=0)
    monkeypatch.setattr(ranks, "num_ranks", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "nccl")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat, operation: operations.append(operation))
    average_gradients(parameters)
    assert operations == [torch.distributed.ReduceOp.AVG] * 2  # a message for each dtype
    for parameter, unchanged in zip(parameters, layouts(rank=0), strict=True):
        assert (parameter.grad is None) == (unchanged.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, unchanged.grad)


@pytest.mark.parametrize(
    ("num_nodes", "compress", "device", "peers", "at_once"),
    [
        (1, "none", "cuda", True, True),
        (1, "none", "cuda", False, False),
        (1, "none", "cpu", False, True),
        (2, "none", "cuda", True, False),
        (1, "bf16", "cuda", True, False),
    ],
)
def test_gradients_are_exchanged_at_once_where_that_is_fast(
    monkeypatch: pytest.MonkeyPatch, num_nodes: int, compress: str, device: str, peers: bool, at_once: bool
) -> None:
    strategy = data_parallel(compress, timeout_s=77)
    strategy.num_nodes = num_nodes
    strategy.model = nn.Linear(1, 1)
    wrapped: list[bool] = []
    monkeypatch.setattr(DDPStrategy, "root_device", torch.device(device, 0))
    monkeypatch.setattr(DDPStrategy, "configure_ddp", lambda self: wrapped.append(True))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "can_device_access_peer", lambda one, other: peers or {one, other} != {0, 2}
    )
    strategy.configure_ddp()
    assert wrapped == ([] if at_once else [True])
    assert strategy._timeout.total_seconds() == 77


@pytest.mark.parametrize("wrapped", [True, False])
def test_frozen_parameters_get_gradients_only_for_distributed_data_parallel(wrapped: bool) -> None:
    model = DistributedDataParallel.__new__(DistributedDataParallel) if wrapped else nn.Linear(1, 1)
    asked: list[dict[str, bool]] = []
    backbone = SimpleNamespace(freeze=lambda frozen, **backward: asked.append(backward))
    module: Any = SimpleNamespace(_backbone=backbone, _frozen=True, _cuda_graphs=False)
    module.trainer = SimpleNamespace(model=model)
    SignClassifier.on_train_epoch_start(module)
    assert asked == [{"backward": wrapped}]


def run_of_two_ranks(
    data: Path, *folders: Path, signum: int = 0, epoch: int = 0
) -> subprocess.CompletedProcess[str]:
    script = HERE / "run_of_two_ranks.py"
    return programs.run(script, data, str(signum), str(epoch), *folders, env={"PYTHONPATH": PYTHONPATH})


def test_a_run_that_a_signal_ended_and_whose_rank_was_killed_equals_one_without_interruption(
    tiny_data: Path, tmp_path: Path
) -> None:
    through, broken = tmp_path / "through", tmp_path / "broken"
    terminated = run_of_two_ranks(tiny_data, broken, signum=signal.SIGTERM, epoch=2)
    assert terminated.returncode == 128 + signal.SIGTERM, terminated.stderr
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == 1

    killed = run_of_two_ranks(tiny_data, broken, signum=signal.SIGKILL, epoch=3)
    assert killed.returncode == 1
    assert killed.stderr.splitlines()[-1].startswith("error: rank 1 was killed by SIGKILL (signal 9).")
    assert "Traceback" not in killed.stderr
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == 2

    assert run_of_two_ranks(tiny_data, broken, through).returncode == 0
    for name in ("last.pt", "best.pt"):
        ours, theirs = (read_checkpoint(folder / name) for folder in (broken, through))
        assert ours["asl"] == theirs["asl"]
        for key in ("state_dict", "current_model_state"):
            assert all(torch.equal(ours[key][one], tensor) for one, tensor in theirs[key].items())
    for name in ("history.csv", "metrics.json"):
        assert (broken / name).read_bytes() == (through / name).read_bytes()
    assert read_checkpoint(broken / "last.pt")["asl"]["epoch"] == EPOCHS


class TrainingJob:
    """A job that is preempted in its second epoch: submitit calls ``checkpoint`` and ends it."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def __call__(self) -> dict[str, Any]:
        began = (Path(self.config.paths.checkpoint_dir) / "last.pt").is_file()
        return train(self.config, callbacks=[] if began else [SignalAtStep(signal.SIGUSR2, 4)])

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def test_a_job_of_submitit_that_is_preempted_goes_on(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    executor = submitit.LocalExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(timeout_min=5)
    job = executor.submit(TrainingJob(tiny(tiny_data, tmp_path / "run", "logger=[]", "resume=auto")))
    assert job.result()["epochs"] == 2
    assert "Caught signal SIGUSR2" in job.stderr()
    assert "resumed from" in " ".join(job.stdout().split())
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [1, 2]


def set_slurm(monkeypatch: pytest.MonkeyPatch, **variables: int | str) -> None:
    for name, value in {"JOB_NAME": "asl", "NTASKS": 4, "NTASKS_PER_NODE": 2, **variables}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


def test_processes_that_srun_or_torchrun_has_started_together_are_the_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cluster_plugins() == []
    set_slurm(monkeypatch, STEP_NUM_TASKS=4)
    (slurm,) = cluster_plugins()
    assert isinstance(slurm, SLURMEnvironment)
    assert not slurm.auto_requeue
    set_slurm(monkeypatch, STEP_NUM_TASKS=1)
    assert [type(plugin) for plugin in cluster_plugins()] == [LightningEnvironment]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")  # srun torchrun
    assert [type(plugin) for plugin in cluster_plugins()] == [TorchElasticEnvironment]


@pytest.mark.parametrize("devices", [1, 2])
def test_without_srun_lightning_starts_the_ranks_of_a_slurm_job(
    devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a batch script without srun, or in a shell of salloc: it would wait for the other tasks."""
    set_slurm(monkeypatch)
    assert [type(plugin) for plugin in cluster_plugins()] == [LightningEnvironment]
    trainer = pl.Trainer(
        accelerator="cpu", devices=devices, logger=False, barebones=True, plugins=cluster_plugins()
    )
    check_ranks(trainer)
    set_slurm(monkeypatch, JOB_NAME="bash")  # as Lightning knows interactive shells
    assert cluster_plugins() == []


def test_tasks_that_slurm_may_have_put_on_machines_in_any_way_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_slurm(monkeypatch, STEP_NUM_TASKS=4)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ConfigError, match=r"--ntasks-per-node=4"):
        cluster_plugins()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "1"},
            r"srun has started 4 processes on 1 .*trainer.devices=1 .*need 1\..*--ntasks-per-node",
        ),
        (
            {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"},
            r"torchrun has started 2 .*trainer=ddp on GPUs, or set both keys.*--nproc-per",
        ),
        (
            {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "2"},
            r"torchrun has started 1 processes on 2 machines",
        ),
    ],
)
def test_another_number_of_processes_than_devices_is_an_error(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, barebones=True)
    check_ranks(trainer)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        check_ranks(trainer)


def test_one_process_of_torchrun_for_two_devices_is_an_error(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "1"}
    for name, value in {**started, "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"torchrun has started 1 .*trainer\.devices=2 .*need 2"):
        train(tiny(tiny_data, tmp_path, "trainer.devices=2", "logger=[]"))


def test_several_machines_without_torchrun_or_srun_are_an_error(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would wait for the other one until the time limit."""
    config = tiny(tiny_data, tmp_path, "trainer.num_nodes=2", "logger=[]")
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2: .* Start it with torchrun or srun"):
        train(config)
    monkeypatch.setenv("MASTER_ADDR", "localhost")  # Lightning's own way to name the first machine
    build_trainer(config.trainer, folder=tmp_path, callbacks=[], logger=[])


def test_the_first_table_says_that_more_gpus_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)

    def trainer(device: str, num_devices: int) -> Any:
        strategy = SimpleNamespace(root_device=torch.device(device))
        return SimpleNamespace(strategy=strategy, num_devices=num_devices)

    assert _more_gpus(trainer("cuda", 1)) == "; 3 more here: trainer=ddp uses all"
    assert _more_gpus(trainer("cuda", 4)) == ""
    assert _more_gpus(trainer("cpu", 1)) == ""


def test_batch_norms_over_all_gpus_have_the_statistics_of_unpadded_planes(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "on_gpu", lambda accelerator: True)
    info = {"glosses": ["a", "b"]}

    def norms(devices: int) -> tuple[set[type], set[str], str | None]:
        module, _, tuned = run_module._build_classifier(
            tiny(tiny_data, tmp_path, "trainer.sync_batchnorm=true", "optim.freeze_epochs=1"),
            info,
            devices=devices,
            load_initial_weights=False,
        )
        kinds = {type(one) for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)}
        module._backbone.freeze(True, backward=True)
        assert not any(one.training for one in module.modules() if isinstance(one, tuple(kinds)))
        return kinds, set(module.state_dict()), tuned

    alone, several = norms(1), norms(2)
    assert alone[0] == {nn.BatchNorm3d, NormRelu3d}
    assert several[0] == {nn.SyncBatchNorm}
    assert alone[1] == several[1]
    assert several[2] == "batch norms over all devices"


@pytest.mark.parametrize("key", ["sync_batchnorm=true", "compress_gradients=bf16"])
def test_what_only_gpus_can_do_is_an_error_on_a_cpu(
    key: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"trainer\.{key} needs GPUs"):
        check_devices(tiny(tiny_data, tmp_path, f"trainer.{key}").trainer)


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("gpu", [False, True])
def test_training_on_a_cpu_in_16_bits_is_an_error(
    gpu: bool, precision: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with pytest.raises(ConfigError, match=rf"trainer\.precision={precision} needs a GPU; use .*auto"):
        check_devices(tiny(tiny_data, tmp_path, "trainer=cpu", f"trainer.precision={precision}").trainer)


def test_more_gpus_than_there_are_is_an_error(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(tiny(tiny_data, tmp_path, "trainer=ddp").trainer)
    with pytest.raises(ConfigError, match=r"trainer\.devices=3: there are 2 GPUs here"):
        check_devices(tiny(tiny_data, tmp_path, "trainer=ddp", "trainer.devices=3").trainer)
    check_devices(tiny(tiny_data, tmp_path, "trainer.devices=3").trainer)  # on the CPU


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["trainer.sync_batchnorm=true", "trainer.compile=on"],
            r"trainer\.sync_batchnorm=true: is not compiled",
        ),
        (["find_lr=true", "optim.scale_lr=sqrt"], r"find_lr=true: .*optim\.scale_lr=none"),
    ],
)
def test_keys_that_contradict_each_other(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed("train", *overrides)
