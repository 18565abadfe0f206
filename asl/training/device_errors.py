"""Explain errors of the device, of reader processes and of too small batches during training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from asl.data.datamodule import ClipDataModule
from asl.data.frames.placement import DEVICE
from asl.data.settings import DataSettings
from asl.errors import UserError
from asl.training.trainer import TrainerSettings

_ONE_VALUE = "Expected more than 1 value per channel when training"  # of torch.nn.functional.batch_norm


class DeviceMemoryError(UserError):
    """Not enough GPU memory."""


@contextmanager
def explained_errors(
    data: DataSettings, trainer: TrainerSettings, datamodule: ClipDataModule
) -> Iterator[None]:
    """Context manager around training that says how to avoid its errors, and frees the frames at the end.

    Raises:
        DeviceMemoryError: instead of CUDA's error if the GPU has not enough memory.
        ClipError: instead of DataLoader's error if a worker hung or crashed.
        UserError: instead of torch's error if a batch norm has one value per channel.
    """
    try:
        yield
    except ValueError as error:
        if _ONE_VALUE not in str(error):
            raise
        raise UserError(
            f"data.batch_size={data.batch_size}: of a clip with data.clip_len={data.clip_len} and "
            f"data.crop_size={data.crop_size}, the network's last layers keep one value per channel, and "
            "batch norm needs at least two: set data.batch_size to 2 or more, or a larger input"
        ) from None
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise DeviceMemoryError(_remedies(error, data, trainer, datamodule)) from error
        explained = datamodule.explain_worker_error(error)
        if explained is None:
            raise
        raise explained from error
    finally:
        datamodule.free_frames()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that the GPU has not enough memory."""
    text = str(error)
    return (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or ("CUDA" in text and "out of memory" in text)
        or "ALLOC_FAILED" in text  # cuBLAS and cuDNN
    )


def _largest_part(batch_size: int) -> int:
    """The largest smaller batch size of which an integer number makes up ``batch_size``: 15 -> 5, 7 -> 1."""
    return next(part for part in range(batch_size // 2, 0, -1) if batch_size % part == 0)


def _remedies(
    error: RuntimeError, data: DataSettings, trainer: TrainerSettings, datamodule: ClipDataModule
) -> str:
    """The first line of the error, and what the user can do."""
    size, steps = data.batch_size, trainer.accumulate_grad_batches
    fixed = "trainer.batch=fixed " if trainer.batch == "auto" else ""  # auto ignores data.batch_size
    remedies = ["end other programs on the GPU (nvidia-smi)"]
    if datamodule.placement is not None and datamodule.placement.where == DEVICE:
        remedies.append("keep the frames on the disk (reader.placement=host)")
    if size > 1:
        part = _largest_part(size)
        smaller = f"{fixed}data.batch_size={part} trainer.accumulate_grad_batches={size // part * steps}"
        remedies.append(f"accumulate smaller batches to as many clips per step ({smaller})")
        if part == 1 and size > 3:
            remedies.append(
                f"make smaller steps ({fixed}data.batch_size={size // 2}; {size} is a prime number)"
            )
    first = next(iter(str(error).splitlines()), "CUDA out of memory")
    return (
        f"{first}\nTo continue: {', or '.join(remedies)}. resume=auto continues after the last finished epoch"
    )
