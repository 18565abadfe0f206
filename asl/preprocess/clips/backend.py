"""Which of ``trim=auto|cpu|nvenc|dali`` a run takes on this machine, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asl.codecs.encoder import Encoder, x264
from asl.config import TrimConfig
from asl.errors import UserError
from asl.machine import available_cores
from asl.preprocess.gpu.capabilities import Capabilities, find_capabilities
from asl.preprocess.gpu.nvenc import nvenc

#: Driving DALI and keeping frames on the host both take about 50 milliseconds of a core for a clip
#: (benchmarks/README.md), so a GPU saves the host nothing, and the CPU alone is simpler.
_DALI_IS_NO_FASTER = "no faster than the CPU, which must prove every clip anyway"

#: Cores keep one GPU's decoder and encoder busy; more processes only fill its memory.
_MOST_NVENC_WORKERS = 8

#: Share of a clip's time limit that it may wait for the GPU's encoder, so that it can say what it
#: waited for before it is stopped.
_PATIENCE = 0.8


class TrimChoiceError(UserError):
    """A way of cutting that was asked for and cannot work here."""


@dataclass(frozen=True)
class Choice:
    """How this run cuts."""

    name: str  # cpu, nvenc or dali
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def decide(name: str) -> tuple[Choice, Capabilities | None]:
    """What to take for ``trim=name``, and what was found out for it; ``cpu`` looks at nothing.

    Raises:
        TrimChoiceError: it was asked for and cannot work here.
    """
    if name == "cpu":
        return Choice("cpu", "as asked"), None
    capabilities = find_capabilities(codecs=())
    return choose(name, capabilities), capabilities


def choose(name: str, capabilities: Capabilities) -> Choice:
    """The way to cut.

    Args:
        name: as configured: auto, cpu, nvenc or dali.
        capabilities: of this machine.

    Raises:
        TrimChoiceError: naming what was asked for, why it cannot work and what to do.
    """
    if name == "cpu":
        return Choice("cpu", "as asked")
    if name != "auto":
        found = {"nvenc": capabilities.nvenc, "dali": capabilities.dali}[name]
        if not found.works:
            remedy = f": {found.remedy}" if found.remedy else ""
            raise TrimChoiceError(f"trim={name} cannot work here, {found.detail}{remedy}")
        return Choice(name, f"as asked, on {capabilities.gpu.detail}")
    if not capabilities.gpu.works:
        return Choice("cpu", capabilities.gpu.detail)
    if capabilities.nvenc.works:
        return Choice("nvenc", capabilities.gpu.detail)
    dali = _DALI_IS_NO_FASTER if capabilities.dali.works else capabilities.dali.detail
    return Choice("cpu", f"nvenc: {capabilities.nvenc.detail}; dali: {dali}")


def encoder_for(way: str, trim: TrimConfig, capabilities: Capabilities | None = None) -> Encoder:
    """The encoder of a :class:`Choice`, with the configured quality.

    ``trim=dali`` takes the GPU's as well if it has one, behind the host's strict decoder: a GPU's own
    conceals damage.
    """
    on_cpu = x264(crf=trim.crf, preset=trim.preset)
    on_gpu = nvenc(cq=trim.cq, session_timeout_s=_PATIENCE * trim.timeout_s, small_picture_encoder=on_cpu)
    if way == "nvenc":
        return on_gpu
    if way == "dali" and capabilities is not None and capabilities.nvenc.works:
        return replace(on_gpu, hwaccel=None)
    return on_cpu


def workers_for(way: str, trim: TrimConfig) -> int:
    """How many worker processes cut at once."""
    cores = available_cores()
    return trim.workers or (min(cores, _MOST_NVENC_WORKERS) if way == "nvenc" else cores)
