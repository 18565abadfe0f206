"""Freeze all of a network but its classifier."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from asl.config.setting import ConfigError

CLASSIFIERS = ("fc", "head", "classifier")  # names of the module in torchvision's networks


def classifier_name(network: nn.Module) -> str | None:
    """The name of the network's classifier, the first of :data:`CLASSIFIERS` that it has as a module."""
    modules = dict(network.named_children())
    return next((name for name in CLASSIFIERS if name in modules), None)


class Backbone:
    """All of a network but its classifier, see :func:`classifier_name`.

    Its parameters stay in the optimiser, which leaves those without a gradient as they are.

    Args:
        network: the network.

    Raises:
        ConfigError: its classifier is unknown.
    """

    def __init__(self, network: nn.Module) -> None:
        classifier = classifier_name(network)
        if classifier is None:
            raise ConfigError(
                f"optim.freeze_epochs: {type(network).__name__} has no module {' or '.join(CLASSIFIERS)}, "
                "the classifier. Name it so, or set optim.freeze_epochs=0"
            )
        prefix = f"{classifier}."
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
