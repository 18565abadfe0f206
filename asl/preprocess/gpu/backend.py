"""The door to GPUs: open the backend of ``trim=auto|cpu|nvdec|nvenc|dali`` for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
from asl.preprocess.gpu.choice import TrimChoiceError, choose, with_trial
from asl.preprocess.gpu.dali.accelerator import dali_offload
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


Decision = tuple[Choice, Capabilities | None]  # None if the machine was not probed, which is so for "cpu"


@dataclass(frozen=True)
class Backend:
    """What a run works with."""

    name: str  # of the backend
    accelerator: Accelerator
    decide: Callable[[], Decision]  # waits until the machine is probed; raises TrimChoiceError
    niceness: int = 0  # of the host's workers


#: For a run that cuts nothing, as the merge of shards.
NO_BACKEND = Backend("cpu", HostOnly(), lambda: (Choice("cpu", "nothing is cut"), None))


def check_device(settings: TrimSettings) -> None:
    """Raise TrimChoiceError if a backend was asked for by name that needs a GPU, and there is none."""
    if settings.name not in ("cpu", "auto") and not has_device():
        choose(settings.name, find_capabilities(codecs=()))


@contextmanager
def open_backend(settings: TrimSettings, *, makes_frames: bool) -> Iterator[Backend]:
    """Choose the backend and start the processes that drive the GPU.

    A backend that was asked for by name is probed while the caller goes on, until it calls
    :attr:`Backend.decide`.

    Args:
        settings: ``trim``.
        makes_frames: whether the run stores frames; DALI has nothing to do otherwise.

    Raises:
        TrimChoiceError: there is no GPU for the backend that was asked for.
    """
    if settings.name == "cpu" or not has_device():
        capabilities = None if settings.name == "cpu" else find_capabilities(codecs=())
        choice = choose(settings.name, capabilities)
        yield Backend("cpu", HostOnly(), lambda: (choice, capabilities))
        return
    with ThreadPoolExecutor(1) as thread, ExitStack() as closing:
        # First, so that its processes get the GPU before those of the accelerator, which take longer.
        probing = thread.submit(find_capabilities, codecs=(), backends=_NEEDED[settings.name])
        accelerator: Accelerator = HostOnly()
        if settings.name == "auto":
            with ExitStack() as starting:
                nvdec = starting.enter_context(_nvdec(settings))
                choice, found = _try_nvdec(probing.result(), nvdec, settings.timeout_s)
                if choice.name == "nvdec":
                    accelerator = nvdec
                    closing.push(starting.pop_all())
            yield _backend(choice.name, accelerator, lambda: (choice, found))
            return
        if settings.name == "nvdec":
            accelerator = closing.enter_context(_nvdec(settings))
        elif settings.name == "dali" and makes_frames:
            accelerator = closing.enter_context(dali_offload(settings.timeout_s))

        def decide() -> Decision:
            found = probing.result()
            return choose(settings.name, found), found

        yield _backend(settings.name, accelerator, decide)


def _backend(name: str, accelerator: Accelerator, decide: Callable[[], Decision]) -> Backend:
    return Backend(name, accelerator, decide, 0 if isinstance(accelerator, HostOnly) else HOST_NICENESS)


def _nvdec(settings: TrimSettings) -> AbstractContextManager[NvdecAccelerator]:
    count = count_gpus()
    gpus = settings.gpus if settings.gpus is not None else range(count)
    if any(gpu >= count for gpu in gpus) or not gpus or len(set(gpus)) != len(gpus):
        raise TrimChoiceError(
            f"trim.gpus={list(gpus)}: name each GPU once; this machine's have the numbers 0 to {count - 1}"
        )
    return nvdec_accelerator(gpus, timeout_s=settings.timeout_s)


def _try_nvdec(
    capabilities: Capabilities, nvdec: NvdecAccelerator, timeout_s: float
) -> tuple[Choice, Capabilities]:
    """The choice for ``trim=auto``, by a trial if NVDEC works here."""
    choice = choose("auto", capabilities)
    trial = run_trial(nvdec, timeout_s=timeout_s) if capabilities.nvdec.works else None
    return with_trial(choice, capabilities, trial), capabilities
