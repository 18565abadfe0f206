"""Trains a network on two ranks on CPUs, and exchanges tensors of several layouts and dtypes between them.

    python gradients_of_two_ranks.py folder

Writes ``trained.pt``, the state dict after training, and ``{rank}.pt``, what each rank has after the
exchanges.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from asl.model.ranks import average_gradients, share
from asl.training.ranks import data_parallel

STEPS, ACCUMULATED, RANKS = 3, 2, 2


def network() -> nn.Module:
    """With a parameter that is never used, and one whose memory is not in the order of its dimensions."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    made = nn.Sequential(convolution, nn.Flatten(), nn.Linear(12, 4))
    made.register_parameter("unused", nn.Parameter(torch.zeros(5)))
    return made


def inputs() -> Tensor:
    """Of each optimiser step, accumulated batch and rank."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(STEPS, ACCUMULATED, RANKS, 2, 4, 4, generator=generator)


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.network(batch[:, self.global_rank]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def layouts(rank: int) -> list[nn.Parameter]:
    """Parameters with gradients of several layouts and dtypes, and one without."""
    made = [
        nn.Parameter(torch.zeros(2, 3, 4)),
        nn.Parameter(torch.zeros(3, 2, dtype=torch.float64)),
        nn.Parameter(torch.zeros(7)),
        nn.Parameter(torch.zeros(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)),
    ]
    for i, parameter in enumerate(made):
        if i != 2:
            values = torch.arange(parameter.numel(), dtype=parameter.dtype).view(parameter.shape)
            parameter.grad = torch.empty_like(parameter).copy_(values * (1 + 2 * rank))
    return made


def buffers(rank: int) -> list[Tensor]:
    return [
        torch.full((2, 3), 0.5 + rank).T,
        torch.tensor(3 - rank),
        torch.zeros(0),
        torch.full((4,), 2.0 * rank),
    ]


def main(folder: Path) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=RANKS,
        strategy=data_parallel(num_nodes=1, compress_gradients="none", timeout_s=60),
        max_epochs=1,
        accumulate_grad_batches=ACCUMULATED,
        use_distributed_sampler=False,
        barebones=True,
    )
    module = Module()
    trainer.fit(module, DataLoader(inputs().flatten(0, 1), batch_size=1))  # type: ignore[arg-type]

    rank = trainer.global_rank
    if rank == 0:
        torch.save(module.network.state_dict(), folder / "trained.pt")
    parameters, shared = layouts(rank), buffers(rank)
    average_gradients(parameters)
    share(shared)
    gradients = [parameter.grad for parameter in parameters]
    torch.save({"gradients": gradients, "shared": shared}, folder / f"{rank}.pt")
    trainer.strategy.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
