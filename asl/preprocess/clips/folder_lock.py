"""Lock the folders that a run writes to, so that two runs never write the same clips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from asl.errors import UserError
from asl.files import remove_temp_files
from asl.machine import FileLockedError, FileLocksUnsupportedError, lock_file


class FolderInUseError(UserError):
    """Another run writes to the same folder."""


@contextmanager
def locked_folders(*folders: Path) -> Iterator[None]:
    """Create folders, lock them for this process, and remove temporary files in them before and after.

    The system releases the locks when the process ends, also if it is killed.

    Raises:
        FolderInUseError: another process has locked one of them.
        UserError: the file system of one of them offers no locks.
    """
    with ExitStack() as closing:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                closing.enter_context(lock_file(folder / ".lock"))
            except FileLocksUnsupportedError as error:
                raise UserError(
                    f"{error}: paths.data_dir=..., or paths.videos_dir=..., paths.frames_dir=... and "
                    "paths.metadata_dir=..."
                ) from None
            except FileLockedError:
                raise FolderInUseError(
                    f"{folder} is being written by another run. Wait for it, or use another paths.data_dir"
                ) from None
        _clean(folders)  # what a killed run left
        try:
            yield
        finally:
            _clean(folders)  # what workers left that were killed at their time limit


def _clean(folders: tuple[Path, ...]) -> None:
    for folder in folders:
        remove_temp_files(folder)
