"""Depthwise convolutions of tokens are torch's, and networks with them compute the same."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from asl.model.networks.mvit_v2_s import MViTv2, MViTv2S, TokenPool, pool_tokens

KERNELS = """
import torch
import torch.nn.functional as F
from asl.model.networks import depthwise as module

module._WEIGHT_PROGRAMS, module._ROWS, module._CHANNELS = 3, 32, 8
torch.manual_seed(0)
for size, stride, channels, dtype, last in [
    ((2, 3, 4), 1, 12, torch.float32, True),
    ((1, 8, 8), 4, 8, torch.float32, True),
    ((3, 5, 3), 2, 8, torch.bfloat16, True),
    ((2, 2, 2), 1, 4, torch.float32, False),
]:
    number = 1 + size[0] * size[1] * size[2]
    of_all = torch.randn(2, number, 3, 2, channels).to(dtype)  # what a linear layer makes for two heads
    tokens = of_all[:, :, 1].transpose(1, 2)
    if not last:
        tokens = tokens.transpose(2, 3).contiguous().transpose(2, 3)
    tokens = tokens.detach().requires_grad_()
    weight = torch.randn(channels, 1, 3, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    weight.requires_grad_()
    planes = tokens[:, :, 1:].flatten(0, 1).transpose(1, 2).unflatten(2, size).float()
    expected = F.conv3d(planes, weight, stride=(1, stride, stride), padding=1, groups=channels)
    expected = expected.flatten(2).transpose(1, 2).unflatten(0, (2, 2))
    expected = torch.cat((tokens[:, :, :1].float(), expected), dim=2)
    ours = module.depthwise_conv(tokens, weight, size, stride)
    upstream = torch.randn(2, 2, 2 * expected.shape[2], channels)[:, :, ::2].to(dtype)
    results = []
    for made in (ours, expected):
        results.append((made, *torch.autograd.grad(made, (tokens, weight), upstream.to(made.dtype))))
        assert [one.dtype for one in results[-1][1:]] == [dtype, torch.float32]
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    for one, other in zip(*results):
        torch.testing.assert_close(one.float(), other.float(), rtol=tolerance, atol=tolerance)
tokens, weight = torch.randn(1, 1, 5, 4, requires_grad=True), torch.randn(4, 1, 3, 3, 3, requires_grad=True)
upstream = torch.randn(1, 1, 10, 4)[:, :, ::2]
for operator, arguments in (
    (module.depthwise_conv, (tokens, weight, (1, 2, 2), 1)),
    (module._gradients, (upstream, tokens.detach(), weight.detach(), (1, 2, 2), 1)),
):
    checks = torch.library.opcheck(operator, arguments)
    assert set(checks.values()) == {"SUCCESS"}, checks
print("equal")
"""


@pytest.mark.skipif(not find_spec("triton"), reason="needs Triton")
def test_the_kernels_are_torchs_convolution_and_its_gradients() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # Triton's kernels on the CPU
    result = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "equal", result.stderr


def narrow(width: int = 16) -> MViTv2:
    torch.manual_seed(0)
    return MViTv2(3, dropout=0.0, stochastic_depth=0.0, width=width, layers=(1, 2, 1, 1))


def test_each_pool_of_a_network_is_replaced_and_keeps_its_parameters() -> None:
    plain = narrow().eval()
    tuned = copy.deepcopy(plain)
    assert pool_tokens(tuned) == 3 * 5  # of queries, keys and values
    assert sum(isinstance(module, TokenPool) for module in tuned.modules()) == 3 * 5
    assert list(tuned.state_dict()) == list(plain.state_dict())
    assert pool_tokens(tuned) == 0
    video = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(tuned(video), plain(video))  # on a CPU, torch's own convolutions


@pytest.mark.skipif(not find_spec("triton"), reason="needs Triton")
def test_without_a_working_triton_pools_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    from asl.model.networks import depthwise

    network = narrow()
    assert depthwise.works() == torch.cuda.is_available()
    monkeypatch.setattr(depthwise, "works", lambda: False)
    assert MViTv2S().tune_for_gpu(network) is None
    monkeypatch.setattr(depthwise, "works", lambda: True)
    assert MViTv2S().tune_for_gpu(network) == "depthwise convolutions of tokens"
    assert MViTv2S().tune_for_gpu(network) is None


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "compiled"),
    [(torch.float32, False), (torch.bfloat16, False), (torch.float16, False), (torch.bfloat16, True)],
    ids=str,
)
def test_a_network_trains_alike_on_a_gpu(dtype: torch.dtype, compiled: bool) -> None:
    plain = narrow(width=96).cuda()
    for parameter in plain.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    tuned = copy.deepcopy(plain)
    assert pool_tokens(tuned)
    if compiled:
        for block in tuned.blocks:
            block.compile(dynamic=False)
    video = torch.randn(2, 3, 8, 64, 64, device="cuda")
    exact = _results(plain, video, torch.float32)
    errors = []
    for network in (tuned, plain):
        results = _results(network, video, dtype)
        errors.append({name: _error(result, exact[name]) for name, result in results.items()})
    for name, error in errors[0].items():
        assert error < 2 * errors[1][name] + 1e-3, name


def _results(network: MViTv2, video: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The logits and all gradients but those that are zero up to rounding."""
    network.zero_grad()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            logits = network(video)
        logits.float().square().sum().backward()
    results = {"logits": logits.detach()}
    for name, parameter in network.named_parameters():
        is_added_to_all_keys = name.endswith("pool_k.norm_act.0.bias")  # which changes no softmax
        if not is_added_to_all_keys:
            assert parameter.grad is not None
            results[name] = parameter.grad
    return results


def _error(result: torch.Tensor, exact: torch.Tensor) -> float:
    """Of the norm. 0 if both are zero, as for relative positions where there is one key."""
    difference = (result.float() - exact).norm()
    return float(difference / exact.norm()) if difference else 0.0


@pytest.mark.gpu
def test_scores_of_attention_are_never_written_to_memory() -> None:
    network = MViTv2S().build(3).cuda().train()
    pool_tokens(network)
    video = torch.randn(1, 3, 16, 224, 224, device="cuda")
    fused = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    with sdpa_kernel(fused), torch.autocast("cuda", torch.bfloat16):
        network(video).float().sum().backward()  # an error where none of them can be used
