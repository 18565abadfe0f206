"""Errors of the device and of reader processes say what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from asl.data.frames.placement import DEVICE, HOST
from asl.data.settings import DataSettings
from asl.errors import UserError
from asl.training.device_errors import DeviceMemoryError, explained_errors
from asl.training.trainer import TrainerSettings


@dataclass
class Placed:
    """Where frames are kept."""

    where: str


@dataclass
class Reading:
    """Stands for the data module: where it keeps frames, and how it explains the errors of its workers."""

    placement: Placed | None = None
    explanation: Exception | None = None
    freed: bool = False
    asked: list[RuntimeError] = field(default_factory=list)

    def explain_worker_error(self, error: RuntimeError) -> Exception | None:
        self.asked.append(error)
        return self.explanation

    def free_frames(self) -> None:
        self.freed = True


def raised(
    error: Exception, reading: Reading | None = None, *, size: int = 4, steps: int = 1, batch: str = "fixed"
) -> Exception:
    """What comes of an error in training."""
    data = DataSettings(manifest="a.csv", batch_size=size)
    trainer = TrainerSettings(accumulate_grad_batches=steps, batch=batch)
    module: Any = reading or Reading()
    with pytest.raises(Exception) as caught, explained_errors(data, trainer, module):  # noqa: PT011
        raise error
    assert module.freed
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("no more memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_a_gpu_without_memory_is_an_error_with_remedies(error: RuntimeError) -> None:
    reading = Reading()
    explained = raised(error, reading)
    assert isinstance(explained, DeviceMemoryError)
    first, second = str(explained).splitlines()
    assert first == str(error)
    assert second.startswith("To continue: end other programs on the GPU (nvidia-smi), or accumulate ")
    assert second.endswith(". resume=auto continues after the last finished epoch")
    assert (explained.__cause__, reading.asked) == (error, [])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("DefaultCPUAllocator: out of memory"),
        RuntimeError("DataLoader worker (pid 7) exited"),
    ],
)
def test_other_errors_are_explained_by_the_reader_or_stay_as_they_are(error: RuntimeError) -> None:
    assert raised(error) is error
    reading = Reading(explanation=ValueError("clip 7 hangs"))
    assert raised(error, reading) is reading.explanation
    assert (reading.explanation.__cause__, reading.asked) == (error, [error])


def test_one_value_per_channel_is_an_error_that_names_the_keys() -> None:
    with pytest.raises(ValueError, match="1 value per channel") as torchs:
        torch.nn.BatchNorm3d(2)(torch.zeros(1, 2, 1, 1, 1))
    explained = raised(torchs.value, size=1)
    assert isinstance(explained, UserError)
    text = str(explained)
    assert text.startswith("data.batch_size=1: of a clip with data.clip_len=32 and data.crop_size=112, the ")
    assert text.endswith("set data.batch_size to 2 or more, or a larger input")
    mistake = ValueError("a mistake")
    assert raised(mistake) is mistake


def test_frames_are_freed_with_and_without_an_error() -> None:
    reading: Any = Reading()
    with explained_errors(DataSettings(manifest="a.csv"), TrainerSettings(), reading):
        pass
    assert reading.freed
    interrupted = Reading()
    assert isinstance(raised(ValueError("a mistake"), interrupted), ValueError)


@pytest.mark.parametrize(
    ("size", "steps", "smaller", "step"),
    [
        (1, 2, None, None),
        (2, 2, (1, 4), None),
        (3, 2, (1, 6), None),
        (4, 1, (2, 2), None),
        (5, 1, (1, 5), 2),
        (7, 2, (1, 14), 3),
        (9, 2, (3, 6), None),
        (15, 2, (5, 6), None),
        (16, 2, (8, 4), None),
    ],
)
def test_smaller_batches_are_accumulated_to_as_many_clips_per_step(
    size: int, steps: int, smaller: tuple[int, int] | None, step: int | None
) -> None:
    message = str(raised(torch.cuda.OutOfMemoryError("full"), size=size, steps=steps))
    assert message.startswith("full\nTo continue: ")
    if smaller:
        assert (
            "accumulate smaller batches to as many clips per step "
            f"(data.batch_size={smaller[0]} trainer.accumulate_grad_batches={smaller[1]})" in message
        )
    assert message.count("batch_size") == bool(smaller) + bool(step)
    assert (f"make smaller steps (data.batch_size={step}; {size} is a prime number)" in message) == bool(step)


def test_a_smaller_batch_replaces_the_one_that_was_found() -> None:
    message = str(raised(torch.cuda.OutOfMemoryError("full"), size=5, batch="auto"))
    assert "(trainer.batch=fixed data.batch_size=1 trainer.accumulate_grad_batches=5)" in message
    assert "(trainer.batch=fixed data.batch_size=2; 5 is a prime number)" in message


@pytest.mark.parametrize(
    ("placement", "named"), [(None, False), (Placed(HOST), False), (Placed(DEVICE), True)]
)
def test_frames_on_the_gpu_can_stay_on_the_disk(placement: Placed | None, named: bool) -> None:
    message = str(raised(torch.cuda.OutOfMemoryError("full"), Reading(placement)))
    assert ("keep the frames on the disk (reader.placement=host)" in message) == named


def test_an_error_without_words_still_says_what_ran_out() -> None:
    assert str(raised(torch.cuda.OutOfMemoryError())).startswith("CUDA out of memory\nTo continue: ")
