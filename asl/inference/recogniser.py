"""A trained network with the input that its checkpoint asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asl.config.setting import ConfigError
from asl.contract.frame_store import FrameSpec
from asl.data.framing import Framing
from asl.data.sampling import SampledView
from asl.data.transforms import centre_crop
from asl.training.checkpoints import restore_network

#: Clips that go through the network at once, by device type. Libraries choose algorithms, which round
#: differently, by the size of a batch; with one size a clip has the same result alone and among others.
#: Larger batches are hardly faster, see benchmarks/README.md, and a single clip takes as long as so many.
_BATCH_SIZES = {"cpu": 4, "cuda": 8}

_USUAL_FPS = 25.0  # of videos whose native frames are drawn

_AUTOCAST = {"32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


def choose_device(accelerator: str) -> torch.device:
    """The device for ``accelerator``: ``auto``, ``cpu`` or ``gpu``.

    Raises:
        ConfigError: ``accelerator`` is another text, or there is no GPU.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"accelerator={accelerator}: must be one of auto, cpu, gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator=gpu: there is no CUDA device here; use accelerator=auto")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


class Recogniser:
    """Frames to probabilities, as the checkpoint's network was trained and validated.

    Args:
        checkpoint: the result of :func:`~asl.training.checkpoints.read_checkpoint`.
        device: where the network runs.
        precision: ``32-true`` (without TF32), ``16-mixed`` or ``bf16-mixed``.

    Attributes:
        info: key ``asl`` of the checkpoint.
        batch_size: clips that go through the network at once.

    Raises:
        CheckpointError: the module that defines the network cannot be imported.
    """

    def __init__(
        self, checkpoint: dict[str, Any], *, device: torch.device, precision: str = "32-true"
    ) -> None:
        self.info: dict[str, Any] = checkpoint["asl"]
        self._network = restore_network(checkpoint).to(device)
        self._autocast = _AUTOCAST[precision]
        self.device = device
        self.batch_size = _BATCH_SIZES[device.type]

    @property
    def glosses(self) -> list[str]:
        """The glosses that the network knows, by label."""
        return list(self.info["glosses"])

    @property
    def num_classes(self) -> int:
        """Number of glosses that the network knows."""
        return len(self.info["glosses"])

    @property
    def frames(self) -> FrameSpec:
        """Which frames of a clip are decoded, and their size, before :meth:`sampling` draws from them.

        Those that were stored for training, unless they are too few or too small for the network, as in
        training with ``reader=decord`` they may have been.
        """
        spec = FrameSpec(**self.info.get("settings", {}).get("frames", {}))  # not in early checkpoints
        fps = self.info["sampling"]["fps"]
        if fps is None or (spec.fps is not None and fps > spec.fps):
            spec.fps = fps
        spec.short_side = max(spec.short_side, min(self.framing.size))
        return spec

    @property
    def window_s(self) -> float:
        """Seconds of the windows in which signs are looked for: the median duration of the training clips.

        For checkpoints that do not say it, the time that ``clip_len`` frames span.
        """
        sampling = self.sampling()
        return float(
            self.info.get("median_duration_s")
            or sampling.clip_len * sampling.frame_stride / (sampling.fps or _USUAL_FPS)
        )

    @property
    def framing(self) -> Framing:
        """The part of pictures that :meth:`probabilities` takes, and its size."""
        return Framing.of(self.info)

    def sampling(self, view: int = 0, num_views: int = 1) -> SampledView:
        """Which frames of a clip :meth:`probabilities` takes, for one of ``num_views`` views."""
        return SampledView(**self.info["sampling"], view=view, num_views=num_views)

    @torch.inference_mode()
    def probabilities(self, video: Tensor) -> Tensor:
        """The probability of each gloss. That of a clip does not depend on the others.

        Args:
            video: ``(B, T, H, W, C)`` uint8 frames of the size of :attr:`framing`, on any device.

        Returns:
            ``(B, num_classes)`` float64 on the CPU.
        """
        logits = [self._logits(part)[: len(part)] for part in video.split(self.batch_size)]
        return torch.cat(logits).cpu().double().softmax(dim=1)

    def _logits(self, video: Tensor) -> Tensor:
        """Up to ``batch_size`` clips, filled up with black ones -> ``(batch_size, num_classes)``."""
        missing = self.batch_size - len(video)
        full = torch.cat([video, video.new_zeros(missing, *video.shape[1:])]) if missing else video
        clips = centre_crop(
            full.to(self.device, non_blocking=True),
            crop_size=self.framing.crop_size,
            mean=self.info["mean"],
            std=self.info["std"],
        )
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None),
        ):
            logits: Tensor = self._network(clips)
        return logits
