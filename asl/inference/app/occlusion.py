"""Saliency over time: how much a probability falls when a group of frames is hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import Frames


def frame_groups(num_frames: int, most: int) -> list[range]:
    """Up to ``most`` groups of neighbouring frames, of about the same size.

    # 10 frames, 4 groups -> 0-2, 3-5, 6-7, 8-9
    """
    borders = np.array_split(np.arange(num_frames), min(most, num_frames))
    return [range(int(group[0]), int(group[-1]) + 1) for group in borders]


def hidden(num_frames: int, group: range) -> npt.NDArray[np.int64]:
    """Which frame stands in the place of each if a group is hidden: the nearest one outside the group.

    # 6 frames, group 2-4 -> 0 1 1 1 5 5

    Returns:
        ``(num_frames,)``; unchanged if the group is all there is.
    """
    frames = np.arange(num_frames)
    before, after = group.start - 1, group.stop
    if before < 0 and after >= num_frames:
        return frames
    for index in group:
        use_before = after >= num_frames or (before >= 0 and index - before <= after - index)
        frames[index] = before if use_before else after
    return frames


def falls(
    probabilities: Callable[[Frames], npt.NDArray[np.float64]],
    frames: Frames,
    label: int,
    groups: Sequence[range],
) -> list[float]:
    """By how much the probability of a gloss falls for each hidden group; negative where it rises.

    Args:
        probabilities: ``(B, T, H, W, 3)`` uint8 -> ``(B, num_classes)``.
        frames: ``(T, H, W, 3)`` uint8.
        label: of the gloss.
        groups: of the frames.
    """
    changed = np.stack([frames, *(frames[hidden(len(frames), group)] for group in groups)])
    whole, *others = probabilities(changed)[:, label].tolist()
    return [whole - one for one in others]
