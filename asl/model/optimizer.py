"""AdamW, with a learning rate that warms up linearly and falls to zero along a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asl.config.setting import setting

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import AdamW, Optimizer
    from torch.optim.lr_scheduler import LambdaLR


@dataclass(kw_only=True)
class OptimizerSettings:
    """Settings of AdamW (Loshchilov and Hutter, ICLR 2019) and of the learning rate schedule."""

    lr: float = setting(3e-4, "peak learning rate", gt=0)
    weight_decay: float = setting(0.01, "AdamW weight decay; not applied to biases and norms", ge=0)
    warmup_epochs: float = setting(2.0, "epochs of linear warm-up", ge=0)
    freeze_epochs: int = setting(0, "epochs at the start in which only the classifier is trained", ge=0)
    ema_decay: float | None = setting(
        None,
        "decay per step of an average of the weights (EMA), which is then what is measured and kept; "
        "null: no average",
        gt=0,
        lt=1,
    )
    fused: bool = setting(True, "GPUs only: update all parameters in one kernel; not with 16-mixed")

    def build(self, network: nn.Module, *, fused: bool) -> AdamW:
        """Build the optimiser.

        Args:
            network: its parameters are optimised.
            fused: whether device and precision allow a fused optimiser.
        """
        from torch.optim import AdamW  # takes seconds to import; the settings do not need it

        groups = decay_groups(network, self.weight_decay)
        optimizer = AdamW(groups, lr=self.lr, fused=self.fused and fused)
        optimizer.register_load_state_dict_pre_hook(_keep_settings)
        return optimizer


def warmup_cosine(optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """A schedule that multiplies the learning rate by a factor in each step.

    The factor rises linearly from ``1 / warmup`` to 1 in ``warmup`` steps, then falls along half a cosine
    to 0 at step ``steps``.
    """
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda step: _factor(step, warmup, steps))


def continue_schedule(scheduler: LambdaLR, *, lr: float, step: int) -> None:
    """Continue at ``step`` with the peak ``lr``, also if the checkpoint that was loaded has other ones.

    Args:
        scheduler: the result of :func:`warmup_cosine`, with or without the state of a checkpoint.
        lr: peak learning rate.
        step: optimiser steps that are done.
    """
    rate = lr * scheduler.lr_lambdas[0](step)
    groups = scheduler.optimizer.param_groups
    for group in groups:
        group["initial_lr"], group["lr"] = lr, rate
    position = {"last_epoch": step, "base_lrs": [lr] * len(groups), "_last_lr": [rate] * len(groups)}
    scheduler.load_state_dict({**scheduler.state_dict(), **position})


def _factor(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: weights, with decay, and biases and norms (one dimension), without."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Keep this optimiser's settings: those of the checkpoint may be of another device or configuration."""
    groups = [
        {**theirs, "fused": ours["fused"], "weight_decay": ours["weight_decay"]}
        for theirs, ours in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}
