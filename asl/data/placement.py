"""Where decoded frames are kept while training runs: in the device's memory or on the disk."""

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

_USABLE = 0.9  # of a device's free memory; the rest is lost to fragments
_SHARE_OF_RAM = 0.25  # what placement=auto takes without being asked


@dataclass(frozen=True)
class Placement:
    """The decision, and why."""

    where: str  # DEVICE or HOST
    reason: str  # for people, one line


def frames_bytes(clips: Iterable[Clip], spec: FrameSpec, size: tuple[int, int]) -> int:
    """Bytes of all clips' frames, each of ``size`` (height, width) pixels."""
    return sum(spec.count(clip.duration_s, clip.num_frames) for clip in clips) * size[0] * size[1] * 3


def free_memory(device: torch.device) -> int:
    """Bytes that this device can still give; of a CPU, the machine's RAM."""
    if device.type != "cuda":
        return available_memory()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of an earlier run
    return torch.cuda.mem_get_info(device)[0] + kept


def choose_placement(
    asked: str, *, device_type: str, frames: int, free: int, reserve: int, processes: int = 1
) -> Placement:
    """Where the frames go.

    On a GPU they go into its memory if they fit beside the training. On a CPU that memory is the RAM:
    it is faster there too, but a quarter of it is all that is taken unasked.

    Args:
        asked: ``reader.placement``.
        device_type: ``cuda`` or ``cpu``.
        frames: bytes of all frames at the size at which they are drawn.
        free: bytes that the device has.
        reserve: bytes that training needs on a GPU.
        processes: training processes that share ``free``, each with frames of its own: on CPUs all.

    Raises:
        ConfigError: ``device`` is asked for and they do not fit.
    """
    on_gpu = device_type == "cuda"
    reserve = reserve if on_gpu else 0
    needed, limit = (frames + reserve) * processes, free * _USABLE
    fits = needed <= limit
    room = f"{format_bytes(frames)} predicted"
    if on_gpu:
        room += f" + {format_bytes(reserve)} for training"
    if processes > 1:
        room += f", {processes} times"
    room += f", {format_bytes(free)} free"
    memory = "device memory" if on_gpu else "RAM"
    if asked == DEVICE and not fits:
        raise ConfigError(
            f"reader.placement=device: the frames do not fit into {memory} ({room}). Take "
            "reader.placement=host, or smaller frames (data.resize) or batches (data.batch_size)"
        )
    if asked == HOST:
        return Placement(HOST, "on disk, as asked for")
    if asked == AUTO and not on_gpu and needed > free * _SHARE_OF_RAM:
        return Placement(HOST, f"on disk: more than a quarter of the RAM ({room})")
    if not fits:
        return Placement(HOST, f"on disk: too large for {memory} ({room})")
    return Placement(DEVICE, f"in {memory} ({room})")
