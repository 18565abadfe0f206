"""The function that is exported: uint8 frames to probabilities, and what a user must know about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from asl import __version__
from asl.data.framing import Framing
from asl.data.split import OFFICIAL
from asl.data.transforms import centre_crop
from asl.training.checkpoints import restore_network


class FramesToProbabilities(nn.Module):
    """Centre crop, normalisation, network and softmax in one module.

    Args:
        checkpoint: the result of :func:`~asl.training.checkpoints.read_checkpoint`.

    Raises:
        CheckpointError: the module that defines the network cannot be imported.
    """

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        info = checkpoint["asl"]
        self.network = restore_network(checkpoint)
        self._input = {name: info[name] for name in ("crop_size", "mean", "std")}
        self.shape: tuple[int, ...] = (info["sampling"]["clip_len"], *info["resize"], 3)  # of one clip
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor) -> Tensor:
        """``(B, T, H, W, 3)`` uint8 -> probabilities ``(B, num_classes)`` float32."""
        logits: Tensor = self.network(centre_crop(frames, **self._input))
        return logits.float().softmax(dim=1)


def describe(info: Mapping[str, Any]) -> str:
    """The metadata in the exported files, a JSON object.

    Args:
        info: the checkpoint's key ``asl``.
    """
    values = {
        **{name: info[name] for name in ("glosses", "sampling", "mean", "std", "model", "dataset", "epoch")},
        **dataclasses.asdict(Framing.of(info)),
        "split": info.get("split", OFFICIAL),  # not in checkpoints of the first version
        "version": __version__,
    }
    return json.dumps(values, ensure_ascii=False)
