"""Trains a network on two ranks on CPUs, and exchanges tensors of several layouts and dtypes between them.

    python gradients_of_two_ranks.py folder

Writes ``{rank}.pt``: what each rank has after training and after the exchanges, and the errors that it got.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from asl.errors import UserError
from asl.model.ranks import average_gradients, share
from asl.training import ranks as training_ranks
from asl.training.ranks import data_parallel

BATCHES, ACCUMULATED, RANKS = 7, 2, 2  # the last optimiser step has one batch


def network(rank: int) -> nn.Module:
    """Each rank's own, with a parameter that is not in the order of its dimensions, and a frozen one."""
    torch.manual_seed(rank)
    convolution = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    made = nn.Sequential(convolution, nn.Flatten(), nn.Linear(12, 4))
    made.register_parameter("frozen", nn.Parameter(torch.ones(5), requires_grad=False))
    made.register_buffer("counts", torch.full((2,), rank))
    return made


def inputs() -> Tensor:
    """Of each batch and rank."""
    return torch.randn(BATCHES, RANKS, 2, 4, 4, generator=torch.Generator().manual_seed(1))


class Module(pl.LightningModule):
    def __init__(self, made: nn.Module) -> None:
        super().__init__()
        self.network = made

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.network(batch[:, self.global_rank]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def layouts(rank: int) -> nn.ParameterList:
    """Parameters with gradients of several layouts and dtypes, and a frozen one."""
    made = [
        nn.Parameter(torch.zeros(2, 3, 4)),
        nn.Parameter(torch.zeros(3, 2, dtype=torch.float64)),
        nn.Parameter(torch.zeros(7), requires_grad=False),
        nn.Parameter(torch.zeros(0)),
        nn.Parameter(torch.zeros(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)),
    ]
    for parameter in made:
        if parameter.requires_grad:
            values = torch.arange(parameter.numel(), dtype=parameter.dtype).view(parameter.shape)
            parameter.grad = torch.empty_like(parameter).copy_(values * (1 + 2 * rank))
    return nn.ParameterList(made)


def buffers(rank: int) -> list[Tensor]:
    return [
        torch.full((2, 3), 0.5 + rank).T,
        torch.tensor(3 - rank),
        torch.zeros(0),
        torch.full((4,), 2.0 * rank),
    ]


def main(folder: Path) -> None:
    exchanges = 0

    def counted(exchanged: nn.Module) -> None:
        nonlocal exchanges
        exchanges += 1
        average_gradients(exchanged)

    trainer = pl.Trainer(
        accelerator="cpu",
        devices=RANKS,
        strategy=data_parallel(compress_gradients="none", timeout_s=60),
        max_epochs=1,
        accumulate_grad_batches=ACCUMULATED,
        use_distributed_sampler=False,
        barebones=True,
    )
    rank = trainer.global_rank
    module = Module(network(rank))
    training_ranks.average_gradients = counted
    trainer.fit(module, DataLoader(inputs(), batch_size=1))  # type: ignore[arg-type]
    found: dict[str, Any] = {"trained": module.network.state_dict(), "exchanges": exchanges}

    parameters, shared = layouts(rank), buffers(rank)
    average_gradients(parameters)
    share(shared)
    found |= {"gradients": [parameter.grad for parameter in parameters], "shared": shared}

    parameters[1].grad = None
    try:
        average_gradients(parameters)
    except UserError as error:
        found["without a gradient"] = str(error)
    training_ranks.share = lambda tensors: None  # in which rank 0 would wait for the other one
    trainer.strategy.model = nn.Linear(4, 1 + rank)
    try:
        trainer.strategy.configure_ddp()  # type: ignore[attr-defined]
    except UserError as error:
        found["another network"] = str(error)
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
