"""Find out what this machine's GPU can do for preprocessing: ``python -m asl.preprocess.gpu`` prints it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asl.preprocess import GPU_WORKER_MODULES
from asl.preprocess.gpu.checks import CODECS, Capability, check
from asl.workers import Done, run_each

#: Much longer than any check takes, including the first start of CUDA on a machine with eight GPUs.
_TIME_LIMIT_S = 60.0

_TITLES = {
    "gpu": "NVIDIA GPU",
    "nvdec": "decode and prove H.264 (NVDEC)",
    "nvenc": "encode H.264 (NVENC)",
    "dali": "decode with DALI",
}

#: What a backend may need.
BACKENDS = ("nvdec", "nvenc", "dali")

#: A quick check in place of "nvdec", for runs that find out the rest when they start NVDEC.
NVDEC_LIBRARIES = "nvdec libraries"


@dataclass(frozen=True)
class Capabilities:
    """What the GPU can do, found by trying it."""

    gpu: Capability
    nvdec: Capability
    nvenc: Capability
    dali: Capability
    decoders: Mapping[str, Capability]  # by codec, FFmpeg's names

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``{dataset}_preprocess_summary.json``."""
        return dataclasses.asdict(self)


def find_capabilities(
    codecs: Collection[str] = tuple(CODECS), *, backends: Collection[str] = BACKENDS
) -> Capabilities:
    """Try everything, each in a process of its own. No process is started if there is no GPU.

    Args:
        codecs: codecs to try to decode with FFmpeg. A run tries none, because the host decodes what the GPU
            cannot.
        backends: those of :data:`BACKENDS` that are tried; :data:`NVDEC_LIBRARIES` stands for "nvdec".
    """
    names = [*backends, *codecs]
    missing = _without_device()
    found = {"gpu": missing} if missing is not None else _checked(["gpu", *names])
    gpu = found["gpu"]
    if not gpu.works:
        found |= {name: dataclasses.replace(gpu, name=name) for name in names}
    if NVDEC_LIBRARIES in found:
        found["nvdec"] = dataclasses.replace(found[NVDEC_LIBRARIES], name="nvdec")
    for name in BACKENDS:
        found.setdefault(name, Capability(name, False, "not tried"))
    return Capabilities(
        gpu, found["nvdec"], found["nvenc"], found["dali"], {codec: found[codec] for codec in codecs}
    )


def has_device() -> bool:
    """Whether there may be an NVIDIA GPU, from device files alone."""
    return _without_device() is None


def count_gpus() -> int:
    """Number of GPUs that CUDA will show, by device files and ``CUDA_VISIBLE_DEVICES``; at least 1."""
    files = len(list(Path("/dev").glob("nvidia[0-9]*"))) or 1  # Windows' Linux has none
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return files if visible is None else max(1, min(files, len([v for v in visible.split(",") if v.strip()])))


def _without_device() -> Capability | None:
    """The result for a machine without NVIDIA GPU, from device files alone. None if there may be one."""
    device_files = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]  # dxg: Windows' Linux
    if device_files or any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return None
    return Capability(
        "gpu",
        False,
        "there is no NVIDIA GPU",
        "use trim=auto or trim=cpu; if there is one, install its driver, or start the container with "
        "--gpus all",
    )


def _checked(names: Iterable[str]) -> dict[str, Capability]:
    found = {}
    for ended in run_each(check, list(names), timeout_s=_TIME_LIMIT_S, preload=GPU_WORKER_MODULES):
        if isinstance(ended, Done):
            found[ended.task] = ended.result
        else:
            remedy = "check the driver: does nvidia-smi answer?"
            found[ended.task] = Capability(ended.task, False, f"trying it out {ended.message}", remedy)
    return found


def show(capabilities: Capabilities, console: Console) -> None:
    """Print a table: what was tried, whether it works, what was found or why not, and what to do."""
    table = Table("what", "works", "found, or why not", "what to do")
    shown: set[str] = set()  # each remedy is shown once, in the first row that needs it
    for one in (
        capabilities.gpu,
        capabilities.nvdec,
        capabilities.nvenc,
        capabilities.dali,
        *capabilities.decoders.values(),
    ):
        title = _TITLES.get(one.name, f"decode {one.name}")
        works = "[green]yes" if one.works else "[red]no"
        remedy = "" if one.remedy in shown else one.remedy
        shown.add(one.remedy)
        table.add_row(title, works, escape(one.detail), escape(remedy))
    console.print(table)
