"""Padding changes neither outputs nor training, nor names and shapes of parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import video as torchvision_video

from asl.model.networks.padding import PaddedConv3d, pad_planes
from asl.model.networks.video_resnet import VideoResNet
from asl.model.optimizer import decay_groups

NARROW = {"num_classes": 5, "width": 10, "layers": [1, 2]}


@pytest.fixture
def pair() -> tuple[VideoResNet, VideoResNet]:
    """The same r2plus1d twice, in float64, the second one padded."""
    torch.manual_seed(0)
    plain = VideoResNet("r2plus1d", **NARROW).double()  # type: ignore[arg-type]
    padded = copy.deepcopy(plain)
    assert pad_planes(padded, 8) == 7  # the stem and both convolutions of three blocks
    return plain, padded


def trained(model: nn.Module, steps: int) -> dict[str, Tensor]:
    """State after ``steps`` of AdamW with weight decay and clipping, on the same random clips each time."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(decay_groups(model, 0.1), lr=0.01)
    model.train()
    for _ in range(steps):
        video = torch.randn(3, 3, 4, 16, 16, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(video), torch.tensor([0, 3, 4])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return model.state_dict()


def test_padding_keeps_names_shapes_and_outputs_of_torchvisions_network() -> None:
    plain = torchvision_video.r2plus1d_18(weights=None, num_classes=3).double().eval()
    padded = VideoResNet("r2plus1d", num_classes=3).double().eval()
    pad_planes(padded, 8)
    state = plain.state_dict()
    padded.load_state_dict(state)
    assert {k: v.shape for k, v in padded.state_dict().items()} == {k: v.shape for k, v in state.items()}
    torchvision_video.r2plus1d_18(weights=None, num_classes=3).load_state_dict(padded.state_dict())
    video = torch.randn(1, 3, 4, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(padded(video), plain(video), rtol=0, atol=1e-12)
    planes = [
        conv.in_channels + conv.extra_in
        for conv in padded.modules()
        if isinstance(conv, PaddedConv3d) and conv.extra_in
    ]
    assert sorted(planes) == [48, *[232] * 2, *[464] * 2, *[928] * 2]


@pytest.mark.parametrize("training", [False, True])
def test_padding_does_not_change_outputs_and_gradients(
    pair: tuple[VideoResNet, VideoResNet], training: bool
) -> None:
    plain, padded = (model.train(training) for model in pair)
    video = torch.randn(3, 3, 4, 16, 16, dtype=torch.float64)
    ours, theirs = padded(video), plain(video)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for model, logits in ((plain, theirs), (padded, ours)):
        logits.square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    for (name, p), q in zip(plain.named_parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("steps", [1, 4])
def test_padding_does_not_change_training(pair: tuple[VideoResNet, VideoResNet], steps: int) -> None:
    plain, padded = (trained(model, steps) for model in pair)
    assert list(plain) == list(padded)
    for name in plain:
        torch.testing.assert_close(padded[name], plain[name], rtol=0, atol=1e-12)


def test_the_extra_planes_are_zero_after_training(pair: tuple[VideoResNet, VideoResNet]) -> None:
    padded = pair[1]
    trained(padded, 3)
    seen: list[Tensor] = []
    for module in padded.modules():
        if isinstance(module, PaddedConv3d) and module.extra_in:
            real = module.in_channels
            module.register_forward_pre_hook(lambda _, args, real=real: seen.append(args[0][:, real:]))
    for mode in (True, False):
        padded.train(mode)(torch.randn(2, 3, 4, 16, 16, dtype=torch.float64))
    assert len(seen) == 2 * 7
    assert all(planes.shape[1] > 0 and not planes.any() for planes in seen)


def test_padding_draws_no_random_number_and_shares_the_parameters() -> None:
    model = VideoResNet("r2plus1d", **NARROW)  # type: ignore[arg-type]
    before, state = list(model.parameters()), torch.get_rng_state()
    pad_planes(model, 8)
    assert torch.equal(torch.get_rng_state(), state)
    assert [id(p) for p in model.parameters()] == [id(p) for p in before]
    assert pad_planes(model, 8) == 0  # already padded


@pytest.mark.parametrize("name", ["r3d", "mc3"])
def test_networks_without_middle_planes_are_not_changed(name: str) -> None:
    model = VideoResNet(name, **NARROW)  # type: ignore[arg-type]
    assert pad_planes(model, 8) == 0
    assert not any(isinstance(module, PaddedConv3d) for module in model.modules())


def test_a_multiple_of_one_changes_nothing() -> None:
    assert pad_planes(VideoResNet("r2plus1d", **NARROW), 1) == 0  # type: ignore[arg-type]
