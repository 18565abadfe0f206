"""The folder in which a run keeps its checkpoints; each job of a sweep has its own."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

_NOT_PART_OF_THE_NAME = ("resume", "paths.checkpoint_dir")


def in_sweep() -> bool:
    """Whether this is a job of ``--multirun``."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def checkpoint_folder(checkpoint_dir: str) -> Path:
    """``paths.checkpoint_dir``; in a sweep a folder in it, named after the job's own overrides.

    The name does not hold the job's number, so that the same sweep started again finds its folders.
    """
    folder = Path(checkpoint_dir)
    return folder / job_name(list(HydraConfig.get().overrides.task)) if in_sweep() else folder


def job_name(overrides: list[str]) -> str:
    """A folder name from overrides: ``['seed=1', 'optim.lr=0.1']`` -> ``optim.lr=0.1,seed=1``.

    What a file name cannot hold is replaced and, so that two jobs never share a folder, a checksum
    of the overrides is appended: ``['model.layers=[1,1]']`` -> ``model.layers=_1,1_-2a6ac6f5``.
    """
    kept = (o for o in overrides if o.lstrip("+~").split("=", 1)[0] not in _NOT_PART_OF_THE_NAME)
    text = ",".join(sorted(kept))
    name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text)[:150].lstrip(".")
    return name if name == text and name else f"{name or 'job'}-{zlib.crc32(text.encode()):08x}"
