"""All of a network but its classifier is frozen, and unfrozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asl.config.setting import ConfigError
from asl.model.backbone import Backbone


class Network(nn.Module):
    """A batch norm in the backbone and one in the classifier, and a parameter that is never trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.fc = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)


def trainable(network: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_the_backbone_is_frozen_with_its_norms_and_unfrozen_as_it_was() -> None:
    network = Network()
    backbone = Backbone(network)
    backbone.freeze(True, backward=False)
    assert trainable(network) == {"fc"}
    assert (network.norm.training, network.fc[0].training) == (False, True)
    backbone.freeze(False, backward=False)
    assert trainable(network) == {"stem", "norm", "fc"}
    assert network.norm.training


def test_gradients_of_the_backbone_that_are_computed_all_the_same_are_dropped() -> None:
    network = Network()
    backbone = Backbone(network)
    backbone.freeze(True, backward=True)
    assert trainable(network) == {"stem", "norm", "fc"}
    assert not network.norm.training
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    backbone.drop_gradients()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None} == {
        "fc",
        "fixed",
    }


def test_a_network_whose_classifier_is_unknown_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError, match=r"Linear has no module fc or head.*optim\.freeze_epochs=0"):
        Backbone(nn.Linear(2, 2))
