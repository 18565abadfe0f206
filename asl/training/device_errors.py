"""Errors during training that are the device's or a reader's, with the ways out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from asl.data.datamodule import ClipDataModule
from asl.data.placement import DEVICE
from asl.data.settings import DataSettings
from asl.errors import UserError
from asl.training.trainer import TrainerSettings


class DeviceMemoryError(UserError):
    """Not enough GPU memory."""


@contextmanager
def explained_errors(
    data: DataSettings, trainer: TrainerSettings, datamodule: ClipDataModule
) -> Iterator[None]:
    """Around training: errors of readers and of a full GPU say what to do; the frames' memory is freed."""
    try:
        yield
    except RuntimeError as error:
        if _is_device_memory(error):
            raise DeviceMemoryError(_ways_out(error, data, trainer, datamodule)) from error
        explained = datamodule.explain(error)
        if explained is None:
            raise
        raise explained from error
    finally:
        datamodule.release()


def _is_device_memory(error: RuntimeError) -> bool:
    text = str(error)
    return (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or ("CUDA" in text and "out of memory" in text)
        or "ALLOC_FAILED" in text  # cuBLAS and cuDNN
    )


def _ways_out(
    error: RuntimeError, data: DataSettings, trainer: TrainerSettings, datamodule: ClipDataModule
) -> str:
    """The first line of the error, and what can be done."""
    size, steps = data.batch_size, trainer.accumulate_grad_batches
    ways = ["end other programs on the GPU (nvidia-smi)"]
    if datamodule.placement is not None and datamodule.placement.where == DEVICE:
        ways.append("leave the frames on the disk (reader.placement=host)")
    if size > 1:  # a smaller batch alone would also be another training, with another schedule
        smaller = f"data.batch_size={size // 2} trainer.accumulate_grad_batches={2 * steps}"
        ways.append(f"make the same steps of smaller batches ({smaller})")
    first = next(iter(str(error).splitlines()), "CUDA out of memory")
    return f"{first}\nTo go on: {', or '.join(ways)}. resume=auto goes on after the last whole epoch"
