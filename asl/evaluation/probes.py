"""Probes: clips without their time or handedness.

A network that has learnt signs fails on them. One that recognises background or signer does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

ALL = "all"


def _shuffle(video: Tensor, video_ids: Sequence[str], seed: int) -> Tensor:
    """All frames in another order, which depends only on ``seed`` and the clip's ``video_id``."""
    import torch

    rngs = [np.random.default_rng([seed, crc32(video_id.encode())]) for video_id in video_ids]
    order = torch.from_numpy(np.stack([rng.permutation(video.shape[1]) for rng in rngs])).to(video.device)
    return video[torch.arange(len(video), device=video.device)[:, None], order]


def _reverse(video: Tensor, video_ids: Sequence[str], seed: int) -> Tensor:
    """The last frame first."""
    return video.flip(1)


def _mirror(video: Tensor, video_ids: Sequence[str], seed: int) -> Tensor:
    """Left and right exchanged: a right-handed signer becomes a left-handed one."""
    return video.flip(3)


def _static(video: Tensor, video_ids: Sequence[str], seed: int) -> Tensor:
    """The middle frame, repeated."""
    middle = video.shape[1] // 2
    return video[:, middle : middle + 1].expand_as(video)


#: ``(B, T, H, W, C)`` uint8, the clips' video_ids and a seed -> a changed batch of the same shape.
PROBES: dict[str, Callable[[Tensor, Sequence[str], int], Tensor]] = {
    "shuffle": _shuffle,
    "reverse": _reverse,
    "mirror": _mirror,
    "static": _static,
}


def chosen_probes(probe: str | None) -> list[str]:
    """The probes that the key ``probe`` selects.

    >>> chosen_probes("static"), chosen_probes("all"), chosen_probes(None)
    (['static'], ['shuffle', 'reverse', 'mirror', 'static'], [])
    """
    if probe is None:
        return []
    return list(PROBES) if probe == ALL else [probe]
