"""``trainer.batch=auto``: the largest batch that fits into the GPU's memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from asl.data.datamodule import ClipDataModule
from asl.data.frames.placement import AUTO, DEVICE, USABLE_SHARE, free_memory
from asl.training.config import TrainConfig
from asl.training.device_errors import DeviceMemoryError, is_out_of_memory
from asl.training.trainer import resolve_precision

_FRAMES_SHARE = 0.25  # of free memory, the most that placement=auto leaves to the stored frames
_MIN_STEPS = 8  # of an epoch


@dataclass(frozen=True)
class Trial:
    """A training step on random input that fitted into the GPU's memory."""

    batch_size: int
    seconds: float  # of the second step; it is not compiled
    num_bytes: int  # the most that was allocated


def find_batch_size(config: TrainConfig, datamodule: ClipDataModule, device: torch.device) -> Trial | None:
    """Find the largest batch by the predicted memory and trial steps. None if the device is no GPU.

    It has 1 to 8 clips or a multiple of 8, and leaves at least 8 steps to an epoch. Stored frames keep their
    place in the memory as :func:`usable_memory` says.

    Raises:
        DeviceMemoryError: not even one clip fits.
    """
    if device.type != "cuda":
        return None
    data = config.data
    precision = resolve_precision(config.trainer.precision, config.trainer.accelerator)

    def predicted(batch_size: int) -> int | None:
        return config.model.training_bytes(
            batch_size=batch_size,
            clip_len=data.clip_len,
            crop_size=data.crop_size,
            full_precision=precision == "32-true",
        )

    return largest_batch(
        lambda batch_size: trial_step(
            config, batch_size, num_classes=len(datamodule.glosses), device=device, precision=precision
        ),
        predicted=predicted,
        usable=usable_memory(
            free_memory(device), frames=datamodule.frames_bytes(), placement=datamodule.requested_placement
        ),
        most=len(datamodule.datasets["train"]) // _MIN_STEPS,
    )


def usable_memory(free: int, *, frames: int, placement: str) -> int:
    """Bytes that training may use, so that the stored frames fit beside it.

    Frames stay on the device with ``device``, and with ``auto`` if they take at most a quarter of the free
    memory. Otherwise they are on the disk, and training may use all.

    Args:
        free: bytes.
        frames: bytes of all frames, resized.
        placement: ``reader.placement``.
    """
    beside = placement == DEVICE or (placement == AUTO and frames <= _FRAMES_SHARE * free)
    return int(USABLE_SHARE * free) - (frames if beside else 0)


def largest_batch(
    trial: Callable[[int], Trial],
    *,
    predicted: Callable[[int], int | None],
    usable: int,
    most: int,
) -> Trial:
    """The largest batch whose predicted memory is at most ``usable`` bytes and whose trial succeeds.

    After a trial that runs out of memory or takes more than ``usable``, at most three quarters are tried.

    Args:
        trial: tries a batch size, raises the device's error if its memory runs out.
        predicted: bytes for a batch size; None if they are not known.
        usable: bytes.
        most: the largest batch size that is tried, at least 1.

    Raises:
        DeviceMemoryError: not even one clip fits.
    """
    sizes = [size for size in (*range(1, 8), *range(8, most + 1, 8)) if size <= max(1, most)]
    fitting = [size for size in sizes if (predicted(size) or 0) <= usable] or sizes[:1]
    while fitting:
        size = fitting[-1]
        try:
            done = trial(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            if done.num_bytes <= usable or size == 1:
                return done
        fitting = [smaller for smaller in fitting if smaller <= size * 3 // 4]
    raise DeviceMemoryError(
        "trainer.batch=auto: not even one clip fits into the GPU's memory. End other programs on it "
        "(nvidia-smi), or set a smaller data.crop_size, data.clip_len or model"
    )


def trial_step(
    config: TrainConfig, batch_size: int, *, num_classes: int, device: torch.device, precision: str
) -> Trial:
    """Do two training steps of a new network on random clips. The state of random numbers is kept."""
    on_gpu = device.type == "cuda"
    layout = torch.channels_last_3d if config.model.channels_last else torch.contiguous_format
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float16
    size = config.data.crop_size
    if on_gpu:
        torch.cuda.empty_cache()  # of a trial before that ran out of memory
        torch.cuda.reset_peak_memory_stats(device)
    with torch.random.fork_rng([device] if on_gpu else []):
        network = config.model.build(num_classes).to(device).train()
        if on_gpu:
            config.model.tune_for_gpu(network)
        optimizer = config.optim.build(network, fused=on_gpu)
        loss = config.loss.build().to(device)
        clips = torch.randn(batch_size, 3, config.data.clip_len, size, size, device=device)
        clips = clips.contiguous(memory_format=layout)
        labels = torch.randint(num_classes, (batch_size,), device=device)
        began = 0.0
        for _ in range(2):
            began = _now(device)
            with torch.autocast(device.type, dtype, enabled=precision != "32-true"):
                value = loss(network(clips), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        seconds = _now(device) - began
    return Trial(batch_size, seconds, torch.cuda.max_memory_allocated(device) if on_gpu else 0)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
