"""The settings of cutting, ``trim=auto|cpu|nvdec|nvenc|dali``, and the backend that a run uses."""

from __future__ import annotations

from dataclasses import dataclass

from asl.config.setting import setting
from asl.machine import available_cores

#: So many processes keep one GPU's decoder and encoder busy; more would only use up its memory.
_MAX_NVENC_WORKERS = 8


@dataclass(kw_only=True)
class TrimSettings:
    """How clips are cut."""

    name: str = setting(
        "auto",
        "auto: the fastest that works here; cpu: libx264; nvdec: GPUs decode and prove clips of H.264; "
        "nvenc: a GPU's decoder and encoder; dali: a GPU's decoder through NVIDIA DALI",
        choices=["auto", "cpu", "nvdec", "nvenc", "dali"],
    )
    workers: int | None = setting(None, "processes; null: one a core, with nvenc at most 8", ge=1)
    gpus: list[int] | None = setting(None, "trim=nvdec: numbers of the GPUs, as [0,1]; null: all", ge=0)
    timeout_s: float = setting(120.0, "a clip that takes longer is given up and reported", gt=0)
    crf: int = setting(20, "libx264 quality, lower is better and larger", ge=0, le=51)
    preset: str = setting(
        "ultrafast",
        "libx264 preset; the faster ones make larger clips, not worse ones (benchmarks/README.md)",
        choices=["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"],
    )
    # NVENC takes 0 for "automatic", which is no constant quality at all.
    cq: int = setting(23, "trim=nvenc: constant quality, lower is better and larger", ge=1, le=51)
    audio: bool = setting(False, "keep the sound")


@dataclass(frozen=True)
class Choice:
    """The backend that a run uses."""

    name: str  # cpu, nvdec, nvenc or dali
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def workers_for(backend: str, settings: TrimSettings) -> int:
    """Number of worker processes that cut clips at the same time."""
    cores = available_cores()
    return settings.workers or (min(cores, _MAX_NVENC_WORKERS) if backend == "nvenc" else cores)
