"""What torchvision's video transformers share: blocks that are compiled once for each shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from asl.config.setting import setting
from asl.model.networks.torchvision_settings import TorchvisionSettings


@dataclass(kw_only=True)
class TransformerSettings(TorchvisionSettings):
    """Settings of a network of blocks with stochastic depth."""

    stochastic_depth: float = setting(
        0.1, "probability that a training step skips the last block; lower for earlier ones", ge=0, lt=1
    )

    def compiled_parts(self, network: nn.Module) -> list[nn.Module]:
        """The blocks. Those of one shape share their compiled code, so that depth costs no compilation."""
        return [module for module in network.modules() if hasattr(module, "stochastic_depth")]


class StochasticDepth(nn.Module):
    """torchvision's ``StochasticDepth(p, "row")`` with the probability in a tensor.

    torch.compile would compile each block again for its own probability.

    Args:
        p: probability that a clip skips the block in training.
    """

    survival: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.register_buffer("survival", torch.tensor(1.0 - p), persistent=False)

    def forward(self, branch: Tensor) -> Tensor:
        """``(B, ...)`` -> the same, in training with zeros for some clips and the others enlarged."""
        if not self.training:
            return branch
        drawn = torch.rand(len(branch), *[1] * (branch.dim() - 1), device=branch.device)
        return branch * ((drawn < self.survival) / self.survival).to(branch.dtype)


def with_tensor_probabilities(network: nn.Module) -> nn.Module:
    """Replace torchvision's stochastic depths by :class:`StochasticDepth`, in place. Returns ``network``."""
    for module in network.modules():
        theirs = getattr(module, "stochastic_depth", None)
        if isinstance(theirs, torchvision.ops.StochasticDepth):
            module.stochastic_depth = StochasticDepth(theirs.p)
    return network
