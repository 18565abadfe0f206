"""AdamW without decay of biases and norms, its schedule, and both after a resume."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from asl.errors import UserError
from asl.model.networks.base import NetworkSettings
from asl.model.networks.mvit_v2_s import MViTv2S
from asl.model.networks.r2plus1d import R2Plus1D
from asl.model.networks.s3d import S3D
from asl.model.networks.swin3d import Swin3DT
from asl.model.networks.video_resnet import VideoResNet
from asl.model.optimizer import OptimizerSettings, continue_schedule, decay_groups, warmup_cosine


def rates(warmup: int, steps: int, count: int, peak: float = 2.0) -> list[float]:
    """The learning rates of the first ``count`` steps."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = warmup_cosine(optimizer, warmup=warmup, steps=steps)
    found = []
    for _ in range(count):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_the_learning_rate_warms_up_linearly_and_falls_to_zero_along_a_cosine() -> None:
    cosine = [1 + math.cos(math.pi * done / 8) for done in range(9)]
    assert rates(warmup=4, steps=12, count=13) == pytest.approx([0.5, 1.0, 1.5, 2.0, *cosine])


def test_a_schedule_without_warmup_starts_at_the_peak_and_stays_at_zero_after_its_end() -> None:
    assert rates(warmup=0, steps=2, count=5) == pytest.approx([2.0, 1.0, 0.0, 0.0, 0.0])
    assert rates(warmup=0, steps=1, count=2) == pytest.approx([2.0, 0.0])


def test_a_run_that_ends_in_its_warmup_has_no_cosine() -> None:
    assert rates(warmup=3, steps=3, count=5) == pytest.approx([2 / 3, 4 / 3, 2.0, 2.0, 0.0])
    assert rates(warmup=3, steps=2, count=2) == pytest.approx([2 / 3, 4 / 3])


def test_a_schedule_goes_on_at_its_step_with_its_own_peak() -> None:
    optimizer = AdamW(decay_groups(nn.Linear(2, 2), 0.1), lr=5.0)
    schedule = warmup_cosine(optimizer, warmup=2, steps=6)
    continue_schedule(schedule, lr=2.0, step=4)
    assert schedule.get_last_lr() == pytest.approx([1.0, 1.0])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.0, 1.0])
    assert [group["initial_lr"] for group in optimizer.param_groups] == [2.0, 2.0]
    optimizer.step()
    schedule.step()
    following = 1 + math.cos(math.pi * 3 / 4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([following, following])
    continue_schedule(schedule, lr=0.5, step=0)
    assert schedule.get_last_lr() == pytest.approx([0.25, 0.25])


def test_weight_decay_is_not_applied_to_biases_and_norms() -> None:
    model = VideoResNet("r2plus1d", num_classes=3, width=2, layers=[1, 1])
    decayed, kept = decay_groups(model, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    norms = {id(p) for m in model.modules() if isinstance(m, nn.BatchNorm3d) for p in m.parameters()}
    assert norms | {id(model.fc.bias)} == {id(p) for p in kept["params"]}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


def test_a_matrix_decays_a_single_number_does_not_and_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(2, 3)
    network.scale = nn.Parameter(torch.tensor(1.0))
    network.bias.requires_grad_(False)
    decayed, kept = decay_groups(network, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(network.weight)]
    assert [id(p) for p in kept["params"]] == [id(network.scale)]


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("possible", [True, False])
def test_the_optimiser_is_fused_if_it_is_wanted_and_possible(wanted: bool, possible: bool) -> None:
    made = OptimizerSettings(lr=0.1, weight_decay=0.3, fused=wanted).build(nn.Linear(2, 2), fused=possible)
    assert made.defaults["fused"] == (wanted and possible)
    assert [group["lr"] for group in made.param_groups] == [0.1, 0.1]
    assert [group["weight_decay"] for group in made.param_groups] == [0.3, 0.0]


def test_a_resumed_optimiser_keeps_its_own_settings_and_the_moments_of_the_checkpoint() -> None:
    network = nn.Linear(2, 2)
    written = OptimizerSettings(lr=0.1, weight_decay=0.1).build(network, fused=True)
    network(torch.ones(1, 2)).sum().backward()
    written.step()
    read = OptimizerSettings(lr=0.5, weight_decay=0.3, fused=False).build(network, fused=True)
    read.load_state_dict(written.state_dict())
    assert [group["fused"] for group in read.param_groups] == [False, False]
    assert [group["weight_decay"] for group in read.param_groups] == [0.3, 0.0]
    assert read.param_groups[0]["lr"] == 0.1
    moments = [optimizer.state[network.weight]["exp_avg"] for optimizer in (read, written)]
    assert torch.equal(*moments)
    assert written.param_groups[0]["fused"] is True
    read.step()


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        (R2Plus1D(width=2, layers=[1, 2]), ["stem", "layer1.0", "layer2.0", "layer2.1", "fc"]),
        (
            S3D(),
            [*(f"features.{i}" for i in (0, 2, 3, 5, 6, 8, 9, 10, 11, 12, 14, 15)), "classifier"],
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_layer_learns_slower_than_the_next_one(settings: NetworkSettings, layers: list[str]) -> None:
    network = settings.build(num_classes=3)
    optimizer = OptimizerSettings(lr=2.0, layer_decay=0.5, weight_decay=0.1).build(network, fused=False)
    rate, decay = {}, {}
    for group in optimizer.param_groups:
        rate |= {id(p): group["lr"] for p in group["params"]}
        decay |= {id(p): group["weight_decay"] for p in group["params"]}
    assert optimizer.param_groups[0]["lr"] == 2.0  # which is logged
    for depth, name in enumerate(reversed(layers)):
        parameters = list(network.get_submodule(name).parameters())
        assert {rate[id(p)] for p in parameters} == {2.0 * 0.5**depth}, name
        assert all(decay[id(p)] == (0.1 if p.ndim > 1 else 0.0) for p in parameters)
    assert len(rate) == len(list(network.parameters()))


def test_the_schedule_of_a_resumed_run_keeps_the_share_of_each_layer() -> None:
    network = R2Plus1D(width=2, layers=[1]).build(num_classes=3)
    optimizer = OptimizerSettings(lr=2.0, layer_decay=0.5).build(network, fused=False)
    schedule = warmup_cosine(optimizer, warmup=2, steps=6)
    continue_schedule(schedule, lr=4.0, step=4)
    assert schedule.get_last_lr() == pytest.approx([2.0, 2.0, 1.0, 1.0, 0.5, 0.5])


def test_the_state_of_other_layers_is_an_error() -> None:
    network = R2Plus1D(width=2, layers=[1]).build(num_classes=3)
    state = OptimizerSettings(layer_decay=0.5).build(network, fused=False).state_dict()
    state["param_groups"] = state["param_groups"][2:]
    with pytest.raises(UserError, match="is for other layers than the network has now"):
        OptimizerSettings(layer_decay=0.5).build(network, fused=False).load_state_dict(state)


@pytest.mark.parametrize("settings", [MViTv2S(), Swin3DT()], ids=lambda settings: settings.name)
def test_each_block_of_a_transformer_is_a_layer(settings: NetworkSettings) -> None:
    network = settings.build(num_classes=3)
    groups = decay_groups(network, 0.1, 0.9)
    scale = {id(p): group["scale"] for group in groups for p in group["params"]}
    # Patches, 16 blocks, head; patches, 12 blocks, 3 mergings, head.
    assert len({*scale.values()}) == {"mvit_v2_s": 18, "swin3d_t": 17}[settings.name]
    blocks = [module for module in network.modules() if hasattr(module, "stochastic_depth")]
    last, norm = ([scale[id(p)] for p in module.parameters()] for module in (blocks[-1], network.norm))
    assert ({*last}, {*norm}) == ({0.9}, {1.0})  # the norm before the head is a part of it


def test_the_learning_rate_of_several_devices() -> None:
    rates = {rule: OptimizerSettings(lr=0.01, scale_lr=rule) for rule in ("none", "linear", "sqrt")}
    assert {rule: settings.scaled(4).lr for rule, settings in rates.items()} == pytest.approx(
        {"none": 0.01, "linear": 0.04, "sqrt": 0.02}
    )
    assert all(settings.scaled(1) == settings for settings in rates.values())
