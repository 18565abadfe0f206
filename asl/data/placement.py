"""Where decoded frames are kept while training runs: in the device's memory or on the disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

# For a step of training R(2+1)D, at width 64. Of each convolution autograd keeps what went into the batch
# norm and what came out, so many numbers per position of half the size in the stem and in each block (of two
# (2+1)D convolutions) of the first stage; each later stage has a quarter of the one before.
_STEM_NUMBERS = 2 * (45 + 64)
_BLOCK_NUMBERS = 2 * 2 * (144 + 64)
_PIXELS_PER_POSITION = 4
_MORE = 1.07  # shortcuts, and what kernels need meanwhile
_PICTURES_PER_PIXEL = 150  # frames as floats: the uncropped ones, and some ten steps of augmentation
_FIXED = 2 << 30  # weights, gradients, AdamW's moments, cuDNN's workspace, the CUDA context
_FULL_WIDTH = 64


@dataclass(frozen=True)
class Placement:
    """The decision, and why."""

    where: str  # DEVICE or HOST
    reason: str  # for people, one line


def frames_bytes(clips: Iterable[Clip], spec: FrameSpec, size: tuple[int, int]) -> int:
    """Bytes of all clips' frames, each of ``size`` (height, width) pixels."""
    return sum(spec.count(clip.duration_s, clip.num_frames) for clip in clips) * size[0] * size[1] * 3


def training_reserve(
    *, batch_size: int, clip_len: int, crop_size: int, width: int, layers: Sequence[int], full_precision: bool
) -> int:
    """About how many bytes a training step takes on the device beside the frames.

    Args:
        batch_size: clips a step and device.
        clip_len: frames a clip.
        crop_size: height and width of what the model sees.
        width: ``model.width``.
        layers: ``model.layers``, blocks by stage.
        full_precision: activations of 4 bytes instead of 2.
    """
    pixels = batch_size * clip_len * crop_size**2
    blocks = sum(count / 4**stage for stage, count in enumerate(layers))
    numbers = (_STEM_NUMBERS + _BLOCK_NUMBERS * blocks) * width / _FULL_WIDTH / _PIXELS_PER_POSITION
    activations = numbers * _MORE * (4 if full_precision else 2)
    return round(pixels * (activations + _PICTURES_PER_PIXEL)) + _FIXED


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
