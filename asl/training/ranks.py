"""Ranks: processes that train one network together, each on its device.

Lightning, torchrun or SLURM starts them.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.distributed import DistError
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from asl.config.setting import ConfigError
from asl.errors import UserError
from asl.model.ranks import average_gradients, share

_COMPRESSION: dict[str, Any] = {
    "none": None,
    "bf16": default_hooks.bf16_compress_hook,
    "fp16": default_hooks.fp16_compress_hook,
}


class DataParallel(DDPStrategy):
    """Averages gradients over the ranks: in parts during the backward pass, or at once after it.

    DistributedDataParallel copies gradients into buckets one by one, and exchanges a bucket while others are
    computed, which hides a slow network. Between GPUs of one machine that reach each other's memory, one copy
    of all gradients and one message take less time (``benchmarks/README.md``, "Two GPUs"). Lightning's hook
    ``on_after_backward`` then sees the gradients of its own rank.
    """

    _accumulates = False

    def averages_at_once(self) -> bool:
        """Whether gradients are averaged at once. Only DistributedDataParallel can round them for that."""
        if self.num_nodes > 1 or self._ddp_comm_hook is not None:
            return False
        return self.root_device.type == "cpu" or _have_peer_access()

    def configure_ddp(self) -> None:
        """Give all ranks the parameters and buffers of the first one.

        Raises:
            UserError: this rank has built another network.
        """
        if not self.averages_at_once():
            super().configure_ddp()
            return
        assert self.model is not None
        state = dict(itertools.chain(self.model.named_parameters(), self.model.named_buffers()))
        own = [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()]
        first = self.broadcast(own)  # what rank 0 has
        if own != first:
            ours, theirs = next(pair for pair in itertools.zip_longest(own, first) if pair[0] != pair[1])
            raise UserError(
                f"rank {self.global_rank} has built another network than rank 0: {ours} instead of {theirs}. "
                "All ranks must read the same files"
            )
        share(state.values())

    def post_backward(self, closure_loss: Tensor) -> None:
        super().post_backward(closure_loss)
        assert self.model is not None
        if not self._accumulates and not isinstance(self.model, DistributedDataParallel):
            average_gradients(self.model)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Lightning enters this for all batches of an optimiser step but the last."""
        self._accumulates = True
        try:
            with super().block_backward_sync():
                yield
        finally:
            self._accumulates = False


def _have_peer_access() -> bool:
    """Whether each GPU of this machine reaches the memory of all others."""
    pairs = itertools.permutations(range(torch.cuda.device_count()), 2)
    return all(torch.cuda.can_device_access_peer(*pair) for pair in pairs)


def data_parallel(compress_gradients: str, timeout_s: float) -> DataParallel:
    """Lightning's strategy for several ranks.

    Buffers, such as the statistics of batch norms, are not shared in each step:
    :func:`~asl.model.ranks.share` does it before they are used. ``static_graph`` is not set: each step uses
    all parameters, so that it would find nothing to leave out.

    Args:
        compress_gradients: ``trainer.compress_gradients``.
        timeout_s: time limit of an exchange between ranks.
    """
    return DataParallel(
        timeout=timedelta(seconds=timeout_s),
        ddp_comm_hook=_COMPRESSION[compress_gradients],
        gradient_as_bucket_view=True,  # no copy back
        broadcast_buffers=False,
    )


def cluster_plugins() -> list[ClusterEnvironment]:
    """How ranks find each other, where Lightning's own choice is not the right one.

    Processes that torchrun or srun has started together are the ranks. For another process of a SLURM job,
    such as one of a batch script without srun or of a shell of salloc, Lightning starts the other ranks, as
    outside of SLURM. Lightning's requeueing, which saves unfinished epochs, is turned off: see
    :class:`~asl.training.interruption.Interruption`.

    Raises:
        ConfigError: SLURM's variables do not say how many tasks a machine has.
    """
    if TorchElasticEnvironment.detect():
        return [TorchElasticEnvironment()]
    if not SLURMEnvironment.detect():
        return []
    if _tasks() == 1:
        return [LightningEnvironment()]
    try:
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:
        raise ConfigError(str(error)) from error


def _tasks() -> int:
    """The number of processes that srun has started together with this one, itself included."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def check_ranks(trainer: pl.Trainer) -> None:
    """Raise ConfigError if other processes than the ranks were started, or if nothing starts all ranks."""
    devices, machines = trainer.num_devices, trainer.num_nodes
    if TorchElasticEnvironment.detect():
        starter, started = "torchrun", (int(os.environ["WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"]))
        remedy = "torchrun --nproc-per-node is the number of devices, --nnodes that of machines"
    elif SLURMEnvironment.detect() and _tasks() > 1:
        starter, started = "srun", (_tasks(), int(os.environ["SLURM_STEP_NUM_NODES"]))
        remedy = "#SBATCH --ntasks-per-node is the number of devices, --nodes that of machines"
    elif machines > 1 and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            f"trainer.num_nodes={machines}: python alone starts the ranks of one machine. Start it with "
            "torchrun or srun (docs/cluster.md)"
        )
    else:
        return
    if started != (devices * machines, machines):
        raise ConfigError(
            f"{starter} has started {started[0]} processes on {started[1]} machines, but "
            f"trainer.devices={devices} and trainer.num_nodes={machines} need {devices * machines}. "
            f"Use trainer=ddp on GPUs, or set both keys; {remedy}"
        )


def is_lost_connection(error: BaseException) -> bool:
    """Whether an exchange with another rank has failed."""
    if isinstance(error, DistError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error).lower() for name in ("gloo", "nccl"))


def exchange_has_failed() -> bool:
    """Whether NCCL has given up an exchange: it took longer than its time limit, or the connection broke.

    NCCL raises nothing in a process that waits for its device. Other backends raise an error, see
    :func:`is_lost_connection`.
    """
    group: Any = torch.distributed.group.WORLD if torch.distributed.is_available() else None
    device = torch.device("cuda")
    if group is None or device not in group._device_types:
        return False
    backend = group._get_backend(device)
    # torch 2.6 has no get_error().
    return backend.name() == "nccl" and hasattr(backend, "get_error") and backend.get_error().value != 0


def requeue_job() -> None:
    """Let SLURM start this job again. Does nothing outside of one."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    name = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
    try:
        subprocess.run(["scontrol", "requeue", name], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"job {name} could not be requeued: {error}", file=sys.stderr)
    else:
        print(f"job {name} is requeued")
