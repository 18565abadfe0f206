"""AdamW with linear warm-up and a cosine to zero."""

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
    """AdamW, linear warm-up, cosine to zero."""

    lr: float = setting(3e-4, "peak learning rate", gt=0)
    weight_decay: float = setting(0.01, "AdamW weight decay; biases and norms are left out", ge=0)
    warmup_epochs: float = setting(2.0, "epochs of linear warm-up", ge=0)
    fused: bool = setting(True, "GPUs only: all parameters in one kernel; not with 16-mixed")

    def build(self, network: nn.Module, *, fused: bool) -> AdamW:
        """The optimiser. ``fused``: whether the device and the precision allow a fused one."""
        from torch.optim import AdamW  # the settings are needed without torch

        groups = decay_groups(network, self.weight_decay)
        optimizer = AdamW(groups, lr=self.lr, fused=self.fused and fused)
        optimizer.register_load_state_dict_pre_hook(_keep_fused)
        return optimizer


def warmup_cosine(optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """Linear from ``1 / warmup`` to 1 over ``warmup`` steps, then a half cosine to 0 at ``steps``."""
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda step: _factor(step, warmup, steps))


def _factor(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices and kernels decay; biases and norms, which have one dimension, do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _keep_fused(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint holds ``fused`` of the device where it was written; this optimiser keeps its own."""
    fused = optimizer.defaults["fused"]
    return {**state, "param_groups": [{**group, "fused": fused} for group in state["param_groups"]]}
