"""The folder of a run's checkpoints. Each job of a sweep has its own; no two runs write to the same one."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from asl.errors import UserError
from asl.files import remove_temp_files
from asl.launch.command_line import is_override_of
from asl.machine import FileLockedError, FileLocksUnsupportedError, lock_file

_NOT_IN_NAME = ("resume", "paths.checkpoint_dir", "launcher")


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
    kept = (one for one in overrides if not is_override_of(one, _NOT_IN_NAME))
    text = ",".join(sorted(kept))
    name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text)[:150].lstrip(".")
    return name if name == text and name else f"{name or 'job'}-{zlib.crc32(text.encode()):08x}"


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Create a run's folder, lock it for this process, and remove what a killed run left.

    The system releases the lock when the process ends, also if it is killed. On a file system without locks
    the folder is not locked.

    Raises:
        UserError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as closing:
        try:
            with suppress(FileLocksUnsupportedError):
                closing.enter_context(lock_file(folder / ".lock"))
        except FileLockedError:
            raise UserError(
                f"{folder} is being written by another run. Wait for it, or choose another folder with "
                "paths.checkpoint_dir=..."
            ) from None
        remove_temp_files(folder, subfolders=False)  # runs in folders below may be writing
        yield
