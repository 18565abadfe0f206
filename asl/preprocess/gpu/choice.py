"""Choose how a run cuts on this machine, ``trim=auto|cpu|nvdec|nvenc|dali``, and its encoder."""

from __future__ import annotations

from dataclasses import replace

from asl.codecs.encoder import Encoder, x264
from asl.errors import UserError
from asl.preprocess.clips.backend import Choice, TrimSettings
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.gpu.nvdec.trial import Trial
from asl.preprocess.gpu.nvenc import nvenc

#: Driving DALI and storing frames on the host both take about 50 ms of a core for a clip
#: (benchmarks/README.md), so trim=auto prefers the simpler one.
_DALI_IS_NO_FASTER = "no faster than the CPU, which must prove every clip anyway"

#: Share of a clip's time limit that it may wait for a free session of the GPU's encoder. The rest is for
#: reporting that it waited in vain before its worker is killed.
_WAIT_SHARE = 0.8


class TrimChoiceError(UserError):
    """The backend that was asked for does not work on this machine."""


def choose(name: str, capabilities: Capabilities | None = None) -> Choice:
    """Choose the backend for ``trim=name`` on a machine with these capabilities.

    Args:
        name: auto, cpu, nvdec, nvenc or dali. For auto, :func:`with_trial` may then take nvdec.
        capabilities: of the machine; "cpu" needs none.

    Raises:
        TrimChoiceError: the backend does not work there; with cause and remedy.
    """
    if name == "cpu" or capabilities is None:
        return Choice("cpu", "as asked")
    if name != "auto":
        capability = {
            "nvdec": capabilities.nvdec,
            "nvenc": capabilities.nvenc,
            "dali": capabilities.dali,
        }[name]
        if not capability.works:
            remedy = f": {capability.remedy}" if capability.remedy else ""
            raise TrimChoiceError(f"trim={name} cannot work here, {capability.detail}{remedy}")
        return Choice(name, f"as asked, on {capabilities.gpu.detail}")
    if not capabilities.gpu.works:
        return Choice("cpu", capabilities.gpu.detail)
    if capabilities.nvenc.works:
        return Choice("nvenc", capabilities.gpu.detail)
    dali = _DALI_IS_NO_FASTER if capabilities.dali.works else capabilities.dali.detail
    return Choice("cpu", f"nvenc: {capabilities.nvenc.detail}; dali: {dali}")


def with_trial(choice: Choice, capabilities: Capabilities, trial: Trial | str | None) -> Choice:
    """The choice for ``trim=auto`` once NVDEC was tried.

    Args:
        choice: without NVDEC.
        capabilities: of the machine.
        trial: its result, or why it failed; None: NVDEC does not work here.
    """
    if isinstance(trial, Trial) and trial.is_worth_it:
        return Choice("nvdec", f"{trial}; {capabilities.gpu.detail}")
    why = str(trial) if trial is not None else capabilities.nvdec.detail
    return replace(choice, why=f"nvdec: {why}; {choice.why}")


def encoder_for(backend: str, settings: TrimSettings, capabilities: Capabilities | None = None) -> Encoder:
    """The encoder of a backend, with the configured quality.

    "nvdec" and "dali" encode on the GPU, too, if that has an encoder. What the host makes for them is also
    decoded there: a GPU's decoder conceals damage.
    """
    on_cpu = x264(crf=settings.crf, preset=settings.preset)
    on_gpu = nvenc(
        cq=settings.cq, session_timeout_s=_WAIT_SHARE * settings.timeout_s, small_picture_encoder=on_cpu
    )
    if backend == "nvenc":
        return on_gpu
    if backend in ("nvdec", "dali") and capabilities is not None and capabilities.nvenc.works:
        return replace(on_gpu, hwaccel=None)
    return on_cpu
