"""Why a file could not be fetched, and whether another attempt can help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a URL gave no file."""

    reason: str  # a short cause, the same for all files that it concerns: reports count by it
    detail: str
    advice: str  # what to do about it
    permanent: bool = False  # another attempt will not help


class FetchError(Exception):
    """A file that could not be fetched.

    Args:
        failure: why.
        blames_host: the host failed, not the file: its other files will probably fail as well.
        again: another attempt in this run may help.
        wait_s: how long the host asks to wait, in seconds; None: it asks for nothing.
    """

    def __init__(
        self,
        failure: Failure,
        *,
        blames_host: bool = False,
        again: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(failure.detail)
        self.failure, self.blames_host, self.again, self.wait_s = failure, blames_host, again, wait_s


#: Advice for a file that its host no longer has.
FIND_ANOTHER = "find a copy elsewhere and put it into dataset.root under its video_id, or do without"

#: Advice for a failure that may pass.
RUN_AGAIN = "run the same command again later"


def not_writable(raw_dir: Path, error: OSError) -> UserError:
    """The error that ends a run whose files cannot be written."""
    return UserError(
        f"{raw_dir} (dataset.root) cannot be written: {error.strerror}. What is fetched already is kept"
    )
