"""S3D, MViTv2 and Video Swin: torchvision's parameters and logits, input of other sizes, memory."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from torch._dynamo.testing import CompileCounter
from torchvision.models import get_model
from torchvision.models.video.mvit import MultiscaleBlock
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

from asl.config.setting import ConfigError
from asl.inference.export.formats import trace
from asl.inference.export.network import FramesToProbabilities
from asl.model.backbone import Backbone, classifier_name
from asl.model.compiling import compile_parts
from asl.model.networks.base import NetworkSettings
from asl.model.networks.mvit_v2_s import Block, MViTv2, MViTv2S
from asl.model.networks.s3d import S3D
from asl.model.networks.swin3d import ShiftedWindowAttention, Swin3DB, Swin3DT
from asl.model.networks.transformer import StochasticDepth
from asl.model.weights import Loaded, load_weights

NETWORKS = [S3D(), MViTv2S(), Swin3DT(), Swin3DB()]
each_network = pytest.mark.parametrize("settings", NETWORKS, ids=lambda settings: settings.name)

#: The smallest input that torchvision's network takes, as (T, H, W).
INPUTS = {
    "s3d": (14, 224, 224),
    "mvit_v2_s": (16, 224, 224),
    "swin3d_t": (4, 64, 64),
    "swin3d_b": (4, 64, 64),
}


def input_of(size: tuple[int, int, int], clips: int = 1) -> torch.Tensor:
    return torch.randn(clips, 3, *size, generator=torch.Generator().manual_seed(1))


@each_network
def test_torchvisions_weights_are_loaded_and_give_its_logits(
    settings: NetworkSettings, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    theirs = get_model(settings.name).eval()
    weights = settings.kinetics_weights()
    assert weights is not None
    assert sum(p.numel() for p in theirs.parameters()) == weights.meta["num_params"]
    file = tmp_path / Path(weights.url).name
    torch.save(theirs.state_dict(), file)
    ours = settings.build(num_classes=400).eval()
    assert load_weights(ours, str(file), settings) == Loaded()
    video = input_of(INPUTS[settings.name])
    with torch.no_grad():
        torch.testing.assert_close(ours(video), theirs(video), atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", NETWORKS[:3], ids=lambda settings: settings.name)
def test_weights_are_found_in_the_cache_and_get_another_classifier(
    settings: NetworkSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = settings.kinetics_weights()
    assert weights is not None
    kinetics = settings.build(num_classes=400)
    (tmp_path / "checkpoints").mkdir()
    torch.save(kinetics.state_dict(), tmp_path / "checkpoints" / Path(weights.url).name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    ours = settings.build(num_classes=3)
    left = load_weights(ours, "kinetics400", settings).new
    classifier = classifier_name(ours)
    assert {name.partition(".")[0] for name in left} == {classifier}
    state = kinetics.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in ours.state_dict().items() if name not in left
    )


@each_network
def test_input_and_normalisation_are_those_of_the_weights(settings: NetworkSettings) -> None:
    weights = settings.kinetics_weights()
    assert weights is not None
    preset = weights.transforms()
    assert (list(settings.mean), list(settings.std)) == (preset.mean, preset.std)
    config = composed("train", f"model={settings.name}", "model.weights=null")
    assert [config.data.crop_size] * 2 == preset.crop_size
    assert config.data.resize[: len(preset.resize_size)] == preset.resize_size
    assert config.data.clip_len >= weights.meta["min_temporal_size"]
    assert config.frames.short_side >= min(config.data.resize)


def test_keys_and_experiments_win_over_the_input_of_a_network() -> None:
    own = composed("train", "model=swin3d_t", "data.crop_size=112", "data.clip_len=8")
    assert (own.data.crop_size, own.data.clip_len, own.data.resize) == (112, 8, [256, 342])
    demo = composed("train", "experiment=demo", "model=swin3d_t")
    assert (demo.data.crop_size, demo.data.resize) == (48, [48, 56])


@each_network
def test_small_clips_are_classified_by_the_order_of_their_frames(settings: NetworkSettings) -> None:
    network = settings.build(num_classes=3).train()  # with the statistics of the clips
    video = input_of((max(4, settings.min_clip_len), 32, 32), clips=2)
    logits = []
    for one in (video, video, video.flip(2)):
        torch.manual_seed(0)
        logits.append(network(one).detach())
    assert logits[0].shape == (2, 3)
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=1e-5)


def small_swin(layers: tuple[int, ...]) -> tuple[Swin3DT, torch.nn.Module]:
    """Video Swin of eight channels a head, and of so many blocks a stage."""
    settings = Swin3DT(stochastic_depth=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Swin3DT, "width", 32)
        patch.setattr(Swin3DT, "layers", layers)
        torch.manual_seed(0)
        return settings, settings.build(num_classes=3)


def test_blocks_of_one_shape_are_compiled_once_and_compute_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counter = CompileCounter()  # counts compilations, and runs the functions uncompiled
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    video, gradients = input_of((4, 64, 64), clips=2), []
    for compiled in (False, True):
        settings, network = small_swin((2, 6))
        if compiled:
            compile_parts(settings.compiled_parts(network))
        torch.manual_seed(1)
        network.train()(video).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*gradients)
    # In each stage half of the blocks shift their windows, and no block has a compilation of its own.
    assert counter.frame_count == 4


@pytest.mark.parametrize("size", [(16, 14, 14), (8, 7, 7), (16, 9, 12), (3, 20, 7), (4, 9, 30)], ids=str)
@pytest.mark.parametrize("shift", [(0, 0, 0), (4, 3, 3)], ids=str)
def test_shifted_windows_are_torchvisions(size: tuple[int, ...], shift: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    made = [
        attention(8, [8, 7, 7], list(shift), 2)
        for attention in (ShiftedWindowAttention, ShiftedWindowAttention3d)
    ]
    torch.nn.init.normal_(made[0].relative_position_bias_table)
    made[1].load_state_dict(made[0].state_dict())
    tokens, found = torch.randn(2, *size, 8, requires_grad=True), []
    for attention in made:
        tokens.grad = None
        output = attention(tokens)
        output.square().sum().backward()
        found.append([output.detach(), tokens.grad, *(one.grad for one in attention.parameters())])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("size", [(8, 7, 4), (4, 5, 30), (1, 3, 2)], ids=str)
def test_windows_of_a_small_picture_have_the_biases_of_their_relative_positions(
    size: tuple[int, int, int],
) -> None:
    torch.manual_seed(0)
    window = [min(pair) for pair in zip(size, (8, 7, 7), strict=True)]
    ours = ShiftedWindowAttention(8, [8, 7, 7], [0, 0, 0], 2)
    small = ShiftedWindowAttention3d(8, window, [0, 0, 0], 2)  # made for such windows
    table = torch.randn(15, 13, 13, 2)  # by distance: -7 to 7, -6 to 6, -6 to 6
    t, h, w = window
    near = table[8 - t : 7 + t, 7 - h : 6 + h, 7 - w : 6 + w]
    index = "relative_position_index"
    state = {**ours.state_dict(), "relative_position_bias_table": table.flatten(0, 2)}
    ours.load_state_dict(state)
    small.load_state_dict(
        {**state, "relative_position_bias_table": near.flatten(0, 2), index: small.state_dict()[index]}
    )
    tokens = torch.randn(2, *size, 8)
    torch.testing.assert_close(ours(tokens), small(tokens))


def test_stochastic_depth_is_torchvisions() -> None:
    branch = torch.ones(20_000, 2, 3)
    torch.manual_seed(0)
    depth = StochasticDepth(0.3)
    assert torch.equal(depth.eval()(branch), branch)
    kept = depth.train()(branch)
    assert kept.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))  # a clip is dropped as a whole
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.02)
    assert torch.equal(StochasticDepth(0.0)(branch), branch)
    assert depth.state_dict() == {}


@pytest.mark.parametrize(("key", "value"), [("clip_len", 7), ("crop_size", 31)])
def test_an_input_that_is_too_small_is_refused(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{key}={value}: model=s3d needs at least {value + 1}"):
        composed("train", "model=s3d", f"data.{key}={value}")


@pytest.mark.parametrize("size", [(8, 56, 56), (3, 12, 8)], ids=["as made for", "interpolated"])
@pytest.mark.parametrize("number", [0, 1, 2], ids=["first", "halves", "wide"])
def test_fused_attention_is_torchvisions(size: tuple[int, int, int], number: int) -> None:
    torch.manual_seed(0)
    network = MViTv2(2, dropout=0.0, stochastic_depth=0.0, width=8, layers=(1, 2, 1, 1))
    block = network.blocks[number].double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.5)
    tokens = torch.randn(1, 1 + math.prod(size), block.norm1.normalized_shape[0], dtype=torch.float64)
    upstream, results = None, []
    for forward in (Block.forward, MultiscaleBlock.forward):
        block.zero_grad()
        given = tokens.clone().requires_grad_()
        made, made_size = forward(block, given, size)
        upstream = torch.randn_like(made) if upstream is None else upstream
        made.backward(upstream)
        results.append((made_size, [made, given.grad, *(p.grad for p in block.parameters())]))
    assert results[0][0] == results[1][0]
    torch.testing.assert_close(results[0][1], results[1][1])


def test_positions_are_interpolated_for_more_frames() -> None:
    network = MViTv2(2, dropout=0.0, stochastic_depth=0.0, width=8, layers=(1, 1, 1, 1)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0), std=0.3)
        few, many = (network(input_of((frames, 64, 64))) for frames in (8, 32))
    assert few.isfinite().all()
    assert many.isfinite().all()


@each_network
def test_only_the_classifier_is_left_when_the_backbone_is_frozen(settings: NetworkSettings) -> None:
    network = settings.build(num_classes=3)
    Backbone(network).freeze(True, backward=False)
    trained = {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {classifier_name(network)}


@each_network
def test_the_predicted_memory_grows_with_what_is_trained(settings: NetworkSettings) -> None:
    def predicted(**changes: Any) -> int:
        batch = {"batch_size": 4, "clip_len": 16, "crop_size": 224, "full_precision": False}
        number = settings.training_bytes(**batch | changes)
        assert number is not None
        return number

    weights = settings.kinetics_weights()
    assert weights is not None
    assert predicted() > 16 * weights.meta["num_params"] + saved_bytes(settings) * 4 // 2
    for larger in ({"batch_size": 5}, {"clip_len": 32}, {"crop_size": 256}, {"full_precision": True}):
        assert predicted(**larger) > predicted()


def saved_bytes(settings: NetworkSettings) -> int:
    """Bytes in 32 bits that autograd keeps of a clip of 16 frames of 224 pixels, measured on a small one."""
    size = (max(4, settings.min_clip_len), 32, 32)
    network, kept = settings.build(num_classes=3).train(), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(input_of(size, clips=2))
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    total = sum(nbytes for place, (nbytes, _) in kept.items() if place not in own)
    return total * 16 * 224**2 // (2 * size[0] * 32**2) // 4


@pytest.mark.parametrize("settings", [S3D(), Swin3DT()], ids=lambda settings: settings.name)
def test_torch_export_traces_what_a_checkpoint_holds(
    settings: NetworkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Swin3DT, "layers", (2, 1, 1, 1))
    clip_len = max(4, settings.min_clip_len)
    state = settings.build(num_classes=3).state_dict()
    info = {
        "glosses": ["a", "b", "c"],
        "network": f"{type(settings).__module__}.{type(settings).__qualname__}",
        "model": {"name": settings.name, **settings.architecture()},
        "sampling": {"clip_len": clip_len},
        "resize": [40, 40],
        "crop_size": 32,
        "mean": list(settings.mean),
        "std": list(settings.std),
    }
    checkpoint = {"asl": info, "state_dict": {f"model.{name}": value for name, value in state.items()}}
    network = FramesToProbabilities(checkpoint)
    frames = torch.randint(256, (3, clip_len, 40, 40, 3), dtype=torch.uint8)
    torch.testing.assert_close(trace(network).module()(frames), network(frames), atol=1e-5, rtol=0)
