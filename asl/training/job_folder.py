"""The folder of a run's checkpoints. Each job of a sweep has its own."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

_NOT_IN_NAME = ("resume", "paths.checkpoint_dir")


def in_sweep() -> bool:
    """Whether this process runs a job of ``--multirun``."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def checkpoint_folder(checkpoint_dir: str) -> Path:
    """The folder of this run's checkpoints.

    It is ``checkpoint_dir`` (``paths.checkpoint_dir``), or in a sweep a folder in it that is named after the
    job's overrides. The name does not contain the job's number, so that a sweep that is started again finds
    its folders.
    """
    folder = Path(checkpoint_dir)
    return folder / job_name(list(HydraConfig.get().overrides.task)) if in_sweep() else folder


def job_name(overrides: list[str]) -> str:
    """The name of a job's folder: ``['seed=1', 'optim.lr=0.1']`` -> ``optim.lr=0.1,seed=1``.

    Characters that are not safe in file names are replaced. Then a checksum of the overrides is appended, so
    that two jobs never share a folder: ``['model.layers=[1,1]']`` -> ``model.layers=_1,1_-2a6ac6f5``.
    """
    kept = (o for o in overrides if o.lstrip("+~").split("=", 1)[0] not in _NOT_IN_NAME)
    text = ",".join(sorted(kept))
    name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text)[:150].lstrip(".")
    return name if name == text and name else f"{name or 'job'}-{zlib.crc32(text.encode()):08x}"
