"""The base class of networks. ``model=...`` selects one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from asl.config.setting import setting
from asl.data.normalisation import KINETICS_MEAN, KINETICS_STD

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

KINETICS = "kinetics400"

# Memory of a training step that no network changes. Measured on an H100, see benchmarks/README.md:
PICTURE_BYTES_PER_PIXEL = 150  # frames as floats, uncropped, and about ten intermediate results of augment()
FIXED_BYTES = 2 << 30  # small networks' weights with their optimiser, cuDNN's workspace, the CUDA context


@dataclass(kw_only=True)
class NetworkSettings:
    """Settings of a network. Each network has a subclass and a YAML file in ``conf/model``."""

    weights: str | None = setting(None, "kinetics400, null (random), or a weights file")
    keep_glosses: bool = setting(
        False, "glosses in common with a checkpoint in model.weights keep their row of its classifier"
    )
    channels_last: bool = setting(True, "channels-last memory format, which is faster on GPUs and CPUs")

    name = ""  # shown in tables, stored in checkpoints and metrics.json
    mean: ClassVar[tuple[float, float, float]] = KINETICS_MEAN  # of the input's channels, pixels in [0, 1]
    std: ClassVar[tuple[float, float, float]] = KINETICS_STD
    gains_by_compiling: ClassVar[bool] = True  # whether trainer.compile=auto compiles it on a GPU
    gains_by_cuda_graphs: ClassVar[bool] = False  # whether its compiled parts are recorded as such
    min_clip_len: ClassVar[int] = 1  # the smallest input of the network, in frames
    min_crop_size: ClassVar[int] = 1  # and in pixels
    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a network with model=...; --help lists them"}

    def problems(self) -> Iterator[str]:
        """Yield a message if the YAML file of the choice names no class, and for a key without effect."""
        if type(self) is NetworkSettings:
            yield "model: the YAML file of this choice must name a class: _target_: module.Class"
        if self.keep_glosses and self.weights is None:
            yield "model.keep_glosses=true: needs a checkpoint in model.weights, which is null"

    def build(self, num_classes: int) -> nn.Module:
        """Build the network: ``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``."""
        raise NotImplementedError(f"{type(self).__name__}.build")

    def architecture(self) -> dict[str, Any]:
        """The settings that, with the weights, decide which function the network computes.

        Checkpoints hold them, and a run can only be resumed with the same ones.
        """
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _NOT_ARCHITECTURE
        }

    def kinetics_weights(self) -> WeightsEnum | None:
        """torchvision's Kinetics-400 weights for this network. None if torchvision has none."""
        return None

    def tune_for_gpu(self, network: nn.Module) -> str | None:
        """Change ``network`` in place so that it is faster on a GPU. It computes the same function.

        Returns:
            What was changed, for the table that is printed at the start. None if nothing was.
        """
        return None

    def compiled_parts(self, network: nn.Module) -> list[nn.Module]:
        """The modules of ``network`` that are compiled, each by itself. By default it is compiled as one."""
        return [network]

    def training_bytes(
        self, *, batch_size: int, clip_len: int, crop_size: int, full_precision: bool
    ) -> int | None:
        """Estimate the GPU memory that training needs, in bytes. None if there is no estimate.

        It is what ``reader.placement=auto`` leaves free on the GPU when it places stored frames there. The
        estimate includes augmentation and the CUDA context.

        Args:
            batch_size: clips per step and device.
            clip_len: frames per clip.
            crop_size: height and width of the input in pixels.
            full_precision: whether activations take 4 bytes instead of 2.
        """
        return None


_NOT_ARCHITECTURE = {field.name for field in dataclasses.fields(NetworkSettings)}
