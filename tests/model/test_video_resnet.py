"""VideoResNet equals torchvision's networks at width 64, and works at other widths and depths."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import video as torchvision_video

from asl.model.networks.video_resnet import VideoResNet

THEIRS = {
    "r2plus1d": torchvision_video.r2plus1d_18,
    "r3d": torchvision_video.r3d_18,
    "mc3": torchvision_video.mc3_18,
}


@pytest.mark.parametrize("name", THEIRS)
def test_at_width_64_names_shapes_and_outputs_equal_torchvisions(name: str) -> None:
    theirs = THEIRS[name](weights=None, num_classes=7).eval()
    ours = VideoResNet(name, num_classes=7).eval()
    state = theirs.state_dict()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    ours.load_state_dict(state)
    video = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(video), theirs(video))


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize(("width", "layers"), [(2, [1]), (3, [1, 2]), (12, [1, 1, 1]), (2, [1, 1, 1, 1])])
def test_any_width_and_depth_has_gradients_for_all_parameters(
    name: str, width: int, layers: list[int]
) -> None:
    model = VideoResNet(name, num_classes=5, width=width, layers=layers, dropout=0.5)
    logits = model(torch.randn(2, 3, 8, 24, 24))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("bad", [{"name": "i3d"}, {"layers": []}, {"layers": [1] * 5}])
def test_unknown_names_and_depths_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        VideoResNet(**{"name": "r3d", "num_classes": 2, "width": 2, "layers": [1], **bad})  # type: ignore[arg-type]
