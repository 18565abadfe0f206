"""The door to GPUs: open the backend of ``trim=auto|cpu|nvdec|nvenc|dali`` for a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from asl.preprocess.clips.accelerator import Accelerator, HostOnly
from asl.preprocess.clips.backend import Choice, TrimSettings
from asl.preprocess.gpu.capabilities import (
    NVDEC_LIBRARIES,
    Capabilities,
    count_gpus,
    find_capabilities,
    has_device,
)
from asl.preprocess.gpu.choice import choose, with_trial
from asl.preprocess.gpu.frame_offload import dali_offload
from asl.preprocess.gpu.nvdec.accelerator import NvdecAccelerator, nvdec_accelerator
from asl.preprocess.gpu.nvdec.trial import run_trial

#: ``os.nice`` of the host's workers beside a GPU. The processes that drive the GPU need a core only for short
#: bursts, but the GPU idles until they get one.
HOST_NICENESS = 5

#: What is tried for each backend.
_NEEDED = {
    "auto": (NVDEC_LIBRARIES, "nvenc", "dali"),
    "nvdec": (NVDEC_LIBRARIES, "nvenc"),
    "nvenc": ("nvenc",),
    "dali": ("nvenc", "dali"),
}


@dataclass(frozen=True)
class Backend:
    """What a run works with."""

    choice: Choice
    capabilities: Capabilities | None  # None if the machine was not probed, which is so for "cpu"
    accelerator: Accelerator
    niceness: int = 0  # of the host's workers


@contextmanager
def open_backend(settings: TrimSettings, *, makes_frames: bool) -> Iterator[Backend]:
    """Choose the backend and start the processes that drive the GPU, while the machine is probed.

    Args:
        settings: ``trim``.
        makes_frames: whether the run stores frames; DALI has nothing to do otherwise.

    Raises:
        TrimChoiceError: the backend that was asked for does not work on this machine.
    """
    if settings.name == "cpu":
        yield Backend(choose("cpu"), None, HostOnly())
        return
    with ThreadPoolExecutor(1) as thread, ExitStack() as closing:
        # First, so that its processes get the GPU before those of the accelerator, which take longer.
        probing = thread.submit(find_capabilities, codecs=(), backends=_NEEDED[settings.name])
        nvdec: NvdecAccelerator | None = None
        accelerator: Accelerator = HostOnly()
        if settings.name in ("auto", "nvdec") and has_device():
            gpus = settings.gpus if settings.gpus is not None else range(count_gpus())
            starting = closing.enter_context(ExitStack())
            accelerator = nvdec = starting.enter_context(
                nvdec_accelerator(gpus, timeout_s=settings.timeout_s)
            )
        elif settings.name == "dali" and makes_frames and has_device():
            accelerator = closing.enter_context(dali_offload(settings.timeout_s))
        capabilities = probing.result()
        choice = choose(settings.name, capabilities)
        if nvdec is not None and settings.name == "auto":
            trial = run_trial(nvdec, timeout_s=settings.timeout_s) if capabilities.nvdec.works else None
            choice = with_trial(choice, capabilities, trial)
            if choice.name != "nvdec":
                starting.close()
                accelerator = HostOnly()
        niceness = 0 if isinstance(accelerator, HostOnly) else HOST_NICENESS
        yield Backend(choice, capabilities, accelerator, niceness)
