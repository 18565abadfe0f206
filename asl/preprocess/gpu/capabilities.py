"""What this machine's GPU can do for preprocessing: ``python -m asl.preprocess.gpu.capabilities``."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asl.preprocess import WORKER_MODULES
from asl.preprocess.gpu.checks import CODECS, Capability, check
from asl.workers import Done, run_each

#: Far more than any check takes, the first start of CUDA on a machine with eight GPUs included.
_TIME_LIMIT_S = 60.0

_TITLES = {"gpu": "NVIDIA GPU", "nvenc": "encode H.264 (NVENC)", "dali": "decode with DALI"}


@dataclass(frozen=True)
class Capabilities:
    """What was found by doing it."""

    gpu: Capability
    nvenc: Capability
    dali: Capability
    decoders: Mapping[str, Capability]  # by codec, FFmpeg's names

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``preprocess_summary.json``."""
        return dataclasses.asdict(self)


def find_capabilities(codecs: Collection[str] = tuple(CODECS)) -> Capabilities:
    """Try everything out, in processes of its own; where there is no GPU at all, nothing is started.

    Args:
        codecs: to try to decode on the GPU. A run tries none: what cannot be decoded there goes to the host.
    """
    gpu = _without_device() or _checked(["gpu"])["gpu"]
    names = ["nvenc", "dali", *codecs]
    found = _checked(names) if gpu.works else {name: dataclasses.replace(gpu, name=name) for name in names}
    return Capabilities(gpu, found["nvenc"], found["dali"], {codec: found[codec] for codec in codecs})


def _without_device() -> Capability | None:
    """The cheap answer of a machine that has no NVIDIA GPU."""
    device_files = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]  # dxg: Windows' Linux
    if device_files or any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return None
    return Capability(
        "gpu",
        False,
        "there is no NVIDIA GPU",
        "take trim=auto or trim=cpu; if there is one, install its driver, or start the container with "
        "--gpus all",
    )


def _checked(names: Iterable[str]) -> dict[str, Capability]:
    found = {}
    for ended in run_each(check, list(names), timeout_s=_TIME_LIMIT_S, preload=WORKER_MODULES):
        if isinstance(ended, Done):
            found[ended.task] = ended.result
        else:
            remedy = "look at the driver: does nvidia-smi answer?"
            found[ended.task] = Capability(ended.task, False, f"trying it out {ended.message}", remedy)
    return found


def show(capabilities: Capabilities, console: Console) -> None:
    """Print the table: what, whether it works, what was found or why not, what to do."""
    table = Table("what", "works", "found, or why not", "what to do")
    told: set[str] = set()  # each remedy stands where it is needed first
    for one in (capabilities.gpu, capabilities.nvenc, capabilities.dali, *capabilities.decoders.values()):
        title = _TITLES.get(one.name, f"decode {one.name}")
        works = "[green]yes" if one.works else "[red]no"
        remedy = "" if one.remedy in told else one.remedy
        told.add(one.remedy)
        table.add_row(title, works, escape(one.detail), escape(remedy))
    console.print(table)


def main() -> None:
    """Look, and print what was found and what ``trim=auto`` makes of it."""
    from asl.preprocess.clips.backend import choose

    console = Console()
    capabilities = find_capabilities()
    show(capabilities, console)
    console.print(f"trim=auto is {choose('auto', capabilities)}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
