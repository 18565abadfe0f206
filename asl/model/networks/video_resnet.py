"""R(2+1)D, R3D and MC3 of any width and depth.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018. The
blocks are torchvision's (``torchvision/models/video/resnet.py``), which has a fixed width of 64 and four
stages. With ``width=64, layers=[2, 2, 2, 2]``, parameter names, shapes and outputs equal those of
``r2plus1d_18``, ``r3d_18`` and ``mc3_18``, so that torchvision's weights can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, Conv3DNoTemporal, Conv3DSimple

# The convolution of each of the four stages.
_CONVOLUTIONS: dict[str, tuple[Any, Any, Any, Any]] = {
    "r2plus1d": (Conv2Plus1D, Conv2Plus1D, Conv2Plus1D, Conv2Plus1D),
    "r3d": (Conv3DSimple, Conv3DSimple, Conv3DSimple, Conv3DSimple),
    "mc3": (Conv3DSimple, Conv3DNoTemporal, Conv3DNoTemporal, Conv3DNoTemporal),
}


class VideoResNet(nn.Module):
    """Stem, residual stages, mean over time and space, linear classifier.

    Args:
        name: r2plus1d, r3d or mc3.
        num_classes: number of glosses.
        width: planes of the first stage; each later stage has twice as many and half the resolution.
        layers: number of residual blocks of each stage; one to four stages.
        dropout: share of features dropped before the classifier.

    Raises:
        ValueError: ``name`` is unknown, or ``layers`` does not have 1 to 4 items.
    """

    def __init__(
        self,
        name: str,
        *,
        num_classes: int,
        width: int = 64,
        layers: Sequence[int] = (2, 2, 2, 2),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if name not in _CONVOLUTIONS:
            raise ValueError(f"name={name!r}: must be one of {', '.join(_CONVOLUTIONS)}")
        if not 1 <= len(layers) <= len(_CONVOLUTIONS[name]):
            raise ValueError(f"layers={list(layers)}: must be 1 to {len(_CONVOLUTIONS[name])} stages")
        self.stem = _factored_stem(width) if name == "r2plus1d" else _plain_stem(width)
        self.num_stages = len(layers)
        inplanes = width
        for stage, blocks in enumerate(layers):
            planes = width * 2**stage
            blocks_of_stage = _stage(
                _CONVOLUTIONS[name][stage], inplanes, planes, blocks=blocks, stride=1 if stage == 0 else 2
            )
            self.add_module(f"layer{stage + 1}", blocks_of_stage)
            inplanes = planes
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inplanes, num_classes)
        self._initialise()

    def forward(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``."""
        features = self.stem(video)
        for stage in range(1, self.num_stages + 1):
            features = self.get_submodule(f"layer{stage}")(features)
        logits: Tensor = self.fc(self.dropout(self.avgpool(features).flatten(1)))
        return logits

    def _initialise(self) -> None:
        """Initialise as torchvision does (convolutions: He et al., ICCV 2015)."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)


def _plain_stem(width: int) -> nn.Sequential:
    """One convolution over space and time."""
    return nn.Sequential(
        nn.Conv3d(3, width, kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _factored_stem(width: int) -> nn.Sequential:
    """A convolution over space, then one over time. As in torchvision, 45 planes between them at width 64."""
    between = max(1, 45 * width // 64)
    return nn.Sequential(
        nn.Conv3d(3, between, kernel_size=(1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        nn.Conv3d(between, width, kernel_size=(3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _stage(
    convolution: Callable[..., nn.Module], inplanes: int, planes: int, *, blocks: int, stride: int
) -> nn.Sequential:
    """``blocks`` residual blocks; the first one changes the number of planes and the resolution."""
    downsample = None
    if stride != 1 or inplanes != planes:
        strides = convolution.get_downsample_stride(stride)  # type: ignore[attr-defined]
        downsample = nn.Sequential(
            nn.Conv3d(inplanes, planes, kernel_size=1, stride=strides, bias=False), nn.BatchNorm3d(planes)
        )
    first = BasicBlock(inplanes, planes, convolution, stride, downsample)
    return nn.Sequential(first, *(BasicBlock(planes, planes, convolution) for _ in range(blocks - 1)))
