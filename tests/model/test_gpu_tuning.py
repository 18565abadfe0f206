"""What changes a video ResNet for GPUs changes neither outputs, gradients nor statistics."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from asl.model.networks.mc3 import MC3
from asl.model.networks.norm_relu import NormRelu3d, fuse_norms
from asl.model.networks.padding import pad_planes
from asl.model.networks.r2plus1d import R2Plus1D
from asl.model.networks.r3d import R3D
from asl.model.networks.stem import SpaceToDepthConv3d, rearrange_stem
from asl.model.networks.video_resnet import VideoResNet

NETWORKS = {"r2plus1d": R2Plus1D, "r3d": R3D, "mc3": MC3}


def network(name: str, *, width: int = 10, layers: Sequence[int] = (1, 2)) -> VideoResNet:
    """A narrow network with norms that are not those of a new one."""
    torch.manual_seed(0)
    model = VideoResNet(name, num_classes=5, width=width, layers=layers)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return model


def tuned(model: VideoResNet, name: str) -> VideoResNet:
    """A tuned copy."""
    model = copy.deepcopy(model)
    assert NETWORKS[name](weights=None).tune_for_gpu(model)
    return model


def training_step(forward: Callable[[Tensor], Tensor], model: nn.Module, video: Tensor) -> Tensor:
    """Logits of a training step; gradients and statistics are those of ``model`` after it."""
    model.zero_grad()
    model.train()
    logits = forward(video)
    (logits.square().sum() + logits[:, 0].sum()).backward()
    return logits.detach()


def assert_same(ours: nn.Module, theirs: nn.Module, *, tolerance: float) -> None:
    """Gradients and statistics agree to a share of the largest one of their tensor."""
    for (name, p), q in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        error = (p.grad - q.grad).abs().max() / p.grad.abs().max()
        assert error < tolerance, f"{name}: {error}"
    for (name, b), c in zip(theirs.named_buffers(), ours.named_buffers(), strict=True):
        assert c[0] == name
        torch.testing.assert_close(c[1], b, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("name", "backend", "size"),
    [
        ("r2plus1d", "aot_eager", 16),
        ("r3d", "aot_eager", 17),
        ("mc3", "eager", 16),
        ("r2plus1d", None, 17),
        ("r3d", None, 16),
    ],
)
def test_a_tuned_network_trains_alike(name: str, backend: str | None, size: int) -> None:
    # To compile takes seconds: one block with a shortcut of its own, and one without.
    plain = network(name, layers=(1, 2) if backend is None else (1, 1)).double()
    model = tuned(plain, name)
    assert list(model.state_dict()) == list(plain.state_dict())
    forward = model.forward
    if backend is not None:
        torch.compiler.reset()
        forward = torch.compile(model.forward, backend=backend, dynamic=False)
    video = torch.randn(3, 3, 4, size, size, dtype=torch.float64)
    ours, theirs = training_step(forward, model, video), training_step(plain, plain, video)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert_same(model, plain, tolerance=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(video), plain.eval()(video), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_norm_before_a_relu_is_fused_and_the_stem_rearranged(name: str) -> None:
    model = tuned(network(name), name)
    modules = list(model.modules())
    assert sum(isinstance(module, SpaceToDepthConv3d) for module in modules) == 1
    # Left are the norms before an addition: one of each block, and that of the shortcut.
    assert sum(type(module) is nn.BatchNorm3d for module in modules) == 3 + 1
    assert not fuse_norms(model)
    assert not rearrange_stem(model.stem)


def test_another_stem_is_not_rearranged() -> None:
    stem = nn.Sequential(nn.Conv3d(3, 8, kernel_size=(3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2)))
    assert not rearrange_stem(stem)
    assert type(stem[0]) is nn.Conv3d


@pytest.mark.skipif(not find_spec("triton"), reason="needs Triton")
def test_the_kernels_sums_are_those_of_plain_operations() -> None:
    program = """
import torch
from asl.model.networks import masked_sums as module
module._PROGRAMS = 4
masked_sums = module.masked_sums
for planes in (8, 72, 264):
    video = torch.randn(2, planes, 3, 15, 17).contiguous(memory_format=torch.channels_last_3d)
    grad, mean, scale, bias = torch.randn_like(video), *torch.randn(3, planes)
    centred = video - mean.view(-1, 1, 1, 1)
    positive = centred * scale.view(-1, 1, 1, 1) + bias.view(-1, 1, 1, 1) > 0
    masked = torch.where(positive, grad, 0.0)
    expected = torch.stack((masked.sum((0, 2, 3, 4)), (masked * centred).sum((0, 2, 3, 4))))
    torch.testing.assert_close(
        masked_sums(grad.contiguous(), video, mean, scale, bias), expected, rtol=1e-4, atol=1e-3
    )
print("equal")
"""
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # Triton's kernels on the CPU
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "equal", result.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_compiled_network_trains_alike_on_a_gpu(channels_last: bool) -> None:
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    plain = network("r2plus1d", width=32).double().cuda()
    model = tuned(plain.float(), "r2plus1d")
    plain = plain.double()
    for parameter in model.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    torch.compiler.reset()
    forward = torch.compile(model.forward, dynamic=False)
    video = torch.randn(4, 3, 8, 32, 32, device="cuda").contiguous(memory_format=layout)
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        ours = training_step(forward, model, video)
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    theirs = training_step(plain, plain, video.double())
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-3)
    # Rounding may change the sign of single inputs of a ReLU, and so a few gradients by a hundredth.
    gradients = [
        torch.cat([p.grad.double().flatten() for p in one.parameters() if p.grad is not None])
        for one in (model, plain)
    ]
    assert nn.functional.cosine_similarity(*gradients, dim=0) > 0.999
    for name, statistics in plain.named_buffers():
        torch.testing.assert_close(model.get_buffer(name).to(statistics), statistics, rtol=1e-3, atol=1e-3)


def test_extra_planes_stay_zero_and_have_no_statistics() -> None:
    norm = nn.BatchNorm3d(5)
    nn.init.ones_(norm.bias)
    fused = NormRelu3d(norm, extra=3)
    video = torch.cat((torch.randn(2, 5, 2, 4, 4), torch.zeros(2, 3, 2, 4, 4)), dim=1)
    torch.compiler.reset()
    for forward in (fused.forward, torch.compile(fused.forward, backend="eager", dynamic=False)):
        assert not forward(video)[:, 5:].any()
    assert {name: tuple(buffer.shape) for name, buffer in fused.named_buffers()} == {
        "running_mean": (5,),
        "running_var": (5,),
        "num_batches_tracked": (),
    }
    assert int(norm.num_batches_tracked) == 2


def test_norms_of_padded_convolutions_are_fused() -> None:
    model = network("r2plus1d")
    pad_planes(model, 8)
    assert any(isinstance(module, NormRelu3d) and module.extra for module in model.modules())
