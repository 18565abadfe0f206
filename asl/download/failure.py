"""Why a file could not be fetched, and whether another attempt can help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asl.errors import UserError
from asl.messages import format_bytes


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


def too_large(num_bytes: float) -> Failure:
    """The failure of a file beyond ``download.max_mb``."""
    return Failure(
        reason="too large",
        detail=f"{format_bytes(int(num_bytes))} is more than download.max_mb",
        advice="raise download.max_mb, with download.retry_permanent=true, or do without",
        permanent=True,
    )


def too_slow(limit_s: float) -> Failure:
    """The failure of a file that took longer than ``download.file_timeout_s``."""
    return Failure(
        reason="too slow",
        detail=f"not complete within {limit_s:g} s (download.file_timeout_s)",
        advice="run the same command again: it continues the file",
    )


def not_writable(raw_dir: Path, error: OSError) -> UserError:
    """The error that ends a run whose files cannot be written."""
    return UserError(
        f"{raw_dir} (dataset.root) cannot be written: {error.strerror}. What is fetched already is kept"
    )
