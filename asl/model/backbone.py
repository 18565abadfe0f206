"""Freeze all of a network but its classifier."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from asl.config.setting import ConfigError

CLASSIFIER = "fc"  # the module's name in every network


class Backbone:
    """All of a network but its classifier, the module ``fc``.

    Its parameters stay in the optimiser, which leaves those without a gradient as they are.

    Args:
        network: the network.

    Raises:
        ConfigError: it has no module ``fc``.
    """

    def __init__(self, network: nn.Module) -> None:
        if not isinstance(getattr(network, CLASSIFIER, None), nn.Module):
            raise ConfigError(
                f"optim.freeze_epochs: {type(network).__name__} has no module {CLASSIFIER}, the classifier. "
                "Name it so, or set optim.freeze_epochs=0"
            )
        prefix = f"{CLASSIFIER}."
        self._parameters = [
            parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and not name.startswith(prefix)
        ]
        self._norms = [
            module
            for name, module in network.named_modules()
            if isinstance(module, _BatchNorm) and not name.startswith(prefix)
        ]

    def freeze(self, frozen: bool, *, backward: bool) -> None:
        """Freeze or unfreeze it. Frozen batch norms use their statistics and do not update them.

        Args:
            frozen: whether it is frozen.
            backward: compute gradients of frozen parameters all the same; then call
                :meth:`drop_gradients` before each optimiser step.
        """
        for parameter in self._parameters:
            parameter.requires_grad_(backward or not frozen)
        for norm in self._norms:
            norm.train(not frozen)

    def drop_gradients(self) -> None:
        """Forget the gradients, so that the optimiser changes no parameter."""
        for parameter in self._parameters:
            parameter.grad = None
