"""The settings that R(2+1)D, R3D and MC3 share, without importing torch. See video_resnet.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asl.config.setting import setting
from asl.model.networks.base import FIXED_BYTES, KINETICS, PICTURE_BYTES_PER_PIXEL, NetworkSettings

if TYPE_CHECKING:
    from torch import nn

MAX_STAGES = 4
_TORCHVISION = (64, [2, 2, 2, 2])  # width and layers for which torchvision has weights

# Memory of a training step of R(2+1)D. After each convolution, autograd keeps two tensors of the size of its
# output: the input and the output of the batch norm. The planes are those at width 64. The stem halves height
# and width, so that a position stands for 4 input pixels; each later stage has a quarter as many numbers.
_STEM_NUMBERS = 2 * (45 + 64)  # per position
_BLOCK_NUMBERS = 2 * 2 * (144 + 64)  # per position of the first stage; a block has two (2+1)D convolutions
_PIXELS_PER_POSITION = 4
_OVERHEAD = 1.07  # shortcuts, and temporary memory of kernels; measured on an H100, see benchmarks/README.md


@dataclass(kw_only=True)
class VideoResNetSettings(NetworkSettings):
    """Settings of a video ResNet (Tran et al., CVPR 2018)."""

    weights: str | None = setting(KINETICS, "kinetics400, null (random), or a weights file")
    width: int = setting(64, "planes of the first stage, doubled in each later one", ge=1)
    layers: list[int] = setting(
        [2, 2, 2, 2], "residual blocks of each stage; one to four stages", any_length=True, ge=1
    )
    dropout: float = setting(0.0, "share of features dropped before the classifier", ge=0, lt=1)

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting that contradicts another one."""
        yield from super().problems()
        if not 1 <= len(self.layers) <= MAX_STAGES:
            yield f"model.layers={self.layers}: must have 1 to {MAX_STAGES} stages"
        if self.weights == KINETICS and (self.width, self.layers) != _TORCHVISION:
            yield (
                f"model.weights={KINETICS} is for model.width=64 and model.layers=[2,2,2,2], not "
                f"model.width={self.width} and model.layers={self.layers}: set these, or model.weights=null"
            )

    def build(self, num_classes: int) -> nn.Module:
        from asl.model.networks.video_resnet import VideoResNet  # torchvision takes seconds to import

        return VideoResNet(
            self.name, num_classes=num_classes, width=self.width, layers=self.layers, dropout=self.dropout
        )

    def tune_for_gpu(self, network: nn.Module) -> str:
        """Rearrange the stem (``stem.py``) and fuse norms with ReLU (``norm_relu.py``)."""
        from asl.model.networks.norm_relu import fuse_norms
        from asl.model.networks.stem import rearrange_stem

        rearrange_stem(network.get_submodule("stem"))
        fuse_norms(network)
        return "stem rearranged, norms fused with ReLU"

    def training_bytes(self, *, batch_size: int, clip_len: int, crop_size: int, full_precision: bool) -> int:
        """The estimate for R(2+1)D. R3D and MC3 need less."""
        pixels = batch_size * clip_len * crop_size**2
        blocks = sum(count / 4**stage for stage, count in enumerate(self.layers))
        numbers = (_STEM_NUMBERS + _BLOCK_NUMBERS * blocks) * self.width / 64 / _PIXELS_PER_POSITION
        activations = numbers * _OVERHEAD * (4 if full_precision else 2)
        return round(pixels * (activations + PICTURE_BYTES_PER_PIXEL)) + FIXED_BYTES
