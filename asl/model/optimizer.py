"""AdamW, with a learning rate that warms up linearly and falls to zero along a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asl.config.setting import setting
from asl.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import AdamW, Optimizer
    from torch.optim.lr_scheduler import LambdaLR


@dataclass(kw_only=True)
class OptimizerSettings:
    """Settings of AdamW (Loshchilov and Hutter, ICLR 2019) and of the learning rate schedule."""

    lr: float = setting(3e-4, "peak learning rate, of one device with optim.scale_lr", gt=0)
    scale_lr: str = setting(
        "none",
        "several devices: multiply optim.lr by their number (linear) or its square root (sqrt)",
        choices=["none", "linear", "sqrt"],
    )
    weight_decay: float = setting(0.01, "AdamW weight decay; not applied to biases and norms", ge=0)
    warmup_epochs: float = setting(2.0, "epochs of linear warm-up", ge=0)
    freeze_epochs: int = setting(0, "epochs at the start in which only the classifier is trained", ge=0)
    layer_decay: float = setting(
        1.0,
        "the learning rate of each layer is this times that of the next one; the classifier has optim.lr",
        gt=0,
        le=1,
    )
    ema_decay: float | None = setting(
        None,
        "decay per step of an average of the weights (EMA), which is then what is measured and kept; "
        "null: no average",
        gt=0,
        lt=1,
    )
    fused: bool = setting(True, "GPUs only: update all parameters in one kernel; not with 16-mixed")

    def scaled(self, devices: int) -> OptimizerSettings:
        """These settings with the ``lr`` that they have on so many devices: see ``scale_lr``.

        ``linear`` is the rule of Goyal et al. (2017) for SGD, ``sqrt`` that of Malladi et al. (NeurIPS 2022)
        for Adam.
        """
        factor = {"none": 1.0, "linear": float(devices), "sqrt": math.sqrt(devices)}[self.scale_lr]
        return replace(self, lr=self.lr * factor)

    def build(self, network: nn.Module, *, fused: bool) -> AdamW:
        """Build the optimiser.

        Args:
            network: its parameters are optimised.
            fused: whether device and precision allow a fused optimiser.
        """
        from torch.optim import AdamW  # takes seconds to import; the settings do not need it

        groups = decay_groups(network, self.weight_decay, self.layer_decay)
        for group in groups:
            group["lr"] = self.lr * group["scale"]
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
    factor = scheduler.lr_lambdas[0](step)
    groups = scheduler.optimizer.param_groups
    peaks = [lr * group["scale"] for group in groups]
    rates = [peak * factor for peak in peaks]
    for group, peak, rate in zip(groups, peaks, rates, strict=True):
        group["initial_lr"], group["lr"] = peak, rate
    position = {"last_epoch": step, "base_lrs": peaks, "_last_lr": rates}
    scheduler.load_state_dict({**scheduler.state_dict(), **position})


def _factor(step: int, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def decay_groups(network: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Parameter groups: weights, with decay, and biases and norms (one dimension), without.

    Below 1, ``layer_decay`` makes two groups of each layer, from the last one to the first.

    Returns:
        Arguments of an optimiser, and ``scale``, a factor of the learning rate. It is 1 for the first group,
        which has the classifier's weights.
    """
    layers = [list(network.parameters())] if layer_decay == 1 else list(reversed(_layers(network)))
    groups = []
    for depth, layer in enumerate(layers):
        parameters = [p for p in layer if p.requires_grad]
        decayed, kept = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
        for chosen, decay in ((decayed, weight_decay), (kept, 0.0)):
            groups.append({"params": chosen, "weight_decay": decay, "scale": layer_decay**depth})
    return groups


def _layers(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each layer in the order of the network, the classifier last.

    A layer is a module of the network. A Sequential or ModuleList of larger modules, such as residual blocks,
    is a layer for each of them. A module whose parameters are all vectors, such as the norm before the
    classifier, belongs to the layer after it, as in BEiT (Bao et al., ICLR 2022).
    """
    from asl.model.backbone import classifier_name

    children, last = dict(network.named_children()), classifier_name(network)
    modules = [block for name, child in children.items() if name != last for block in _blocks(child)]
    if last is not None:
        modules.append(children[last])
    layers: list[list[nn.Parameter]] = []
    layer = list(network.parameters(recurse=False))
    for module in modules:
        layer += module.parameters()
        if any(parameter.ndim > 1 for parameter in layer):
            layers.append(layer)
            layer = []
    return [*layers, layer] if layer else layers


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks of which a module consists. One: itself."""
    from torch import nn

    children = list(module.children())
    if type(module) not in (nn.Sequential, nn.ModuleList) or any(
        not list(child.children()) and list(child.parameters()) for child in children
    ):
        return [module]
    return [block for child in children for block in _blocks(child)]


def _keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Keep this optimiser's settings: those of the checkpoint may be of another device or configuration.

    Raises:
        UserError: the checkpoint's groups have other parameters.
    """
    sizes = [
        [len(group["params"]) for group in groups]
        for groups in (state["param_groups"], optimizer.param_groups)
    ]
    if sizes[0] != sizes[1]:
        raise UserError(
            "the optimiser's state in the checkpoint is for other layers than the network has now, as in an "
            "earlier version with optim.layer_decay below 1. Start a new run in another "
            "paths.checkpoint_dir; model.weights=... starts from the weights of the checkpoint"
        )
    groups = [
        {**theirs, **{key: ours[key] for key in ("fused", "weight_decay", "scale")}}
        for theirs, ours in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state, "param_groups": groups}
