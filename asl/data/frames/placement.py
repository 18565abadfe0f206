"""Decide where stored frames are kept during training: in device memory or on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from asl.config.setting import ConfigError
from asl.contract.frame_store import FrameSpec
from asl.contract.manifest import Clip
from asl.machine import available_memory
from asl.messages import format_bytes

DEVICE, HOST, AUTO = "device", "host", "auto"

USABLE_SHARE = 0.9  # of free memory; the rest is lost to fragmentation
_AUTO_RAM_SHARE = 0.25  # of free RAM, the most that placement=auto uses


@dataclass(frozen=True)
class Placement:
    """Where the frames are kept, and why."""

    where: str  # DEVICE or HOST
    reason: str  # one line for the user


def frames_bytes(clips: Iterable[Clip], spec: FrameSpec, size: tuple[int, int]) -> int:
    """Bytes of the frames of all clips, each frame resized to ``size`` (height, width)."""
    return sum(spec.count(clip.duration_s, clip.num_frames) for clip in clips) * size[0] * size[1] * 3


def free_memory(device: torch.device) -> int:
    """Bytes of memory that can still be allocated on a device. For a CPU it is the RAM."""
    if device.type != "cuda":
        return available_memory()
    # PyTorch keeps memory that an earlier run in this process has freed, and can use it again.
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def choose_placement(
    requested: str, *, device_type: str, frames: int, free: int, reserve: int, processes: int = 1
) -> Placement:
    """Decide where the frames are kept.

    ``auto`` chooses a GPU's memory if the frames fit into it beside the training, and a CPU's RAM if they
    take at most a quarter of it. It chooses the disk otherwise.

    Args:
        requested: ``reader.placement``.
        device_type: ``cuda`` or ``cpu``.
        frames: bytes of all frames, resized.
        free: bytes that are free on the device.
        reserve: bytes that training needs on a GPU; ignored on a CPU.
        processes: training processes that share ``free``. Each loads all frames.

    Raises:
        ConfigError: ``device`` is requested and the frames do not fit.
    """
    on_gpu = device_type == "cuda"
    reserve = reserve if on_gpu else 0
    needed = (frames + reserve) * processes
    fits = needed <= free * USABLE_SHARE
    numbers = f"{format_bytes(frames)} predicted"
    if on_gpu:
        numbers += f" + {format_bytes(reserve)} for training"
    if processes > 1:
        numbers += f", {processes} times"
    numbers += f", {format_bytes(free)} free"
    memory = "device memory" if on_gpu else "RAM"
    if requested == DEVICE and not fits:
        raise ConfigError(
            f"reader.placement=device: the frames do not fit into {memory} ({numbers}). Use "
            "reader.placement=host, smaller frames (data.resize) or smaller batches (data.batch_size)"
        )
    if requested == HOST:
        return Placement(HOST, "on disk, as requested")
    if requested == AUTO and not on_gpu and needed > free * _AUTO_RAM_SHARE:
        return Placement(HOST, f"on disk: more than a quarter of the RAM ({numbers})")
    if not fits:
        return Placement(HOST, f"on disk: too large for {memory} ({numbers})")
    return Placement(DEVICE, f"in {memory} ({numbers})")
