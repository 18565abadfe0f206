"""How often a host is asked, and when it is left alone."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


class Host:
    """The requests to one host.

    Args:
        interval_s: seconds between the starts of two requests.
        give_up_after: files in a row that failed because of the host, after which it is left.
    """

    def __init__(self, *, interval_s: float, give_up_after: int) -> None:
        self.interval_s, self.give_up_after = interval_s, give_up_after
        self._next_s = 0.0  # on the monotonic clock: when the next request may start
        self._failures = 0

    @property
    def is_given_up(self) -> bool:
        """Whether it is left for this run."""
        return self._failures >= self.give_up_after

    async def turn(self) -> None:
        """Wait until the next request may start."""
        while (wait_s := self._next_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        self._next_s = time.monotonic() + self.interval_s

    def wait(self, seconds: float) -> None:
        """Start no request for so many seconds."""
        self._next_s = max(self._next_s, time.monotonic() + seconds)

    def give_up(self) -> None:
        """Leave it for this run."""
        self._failures = self.give_up_after

    def ended(self, *, failed: bool) -> None:
        """Count a file: whether it failed because of the host."""
        if not self.is_given_up:  # files that were begun before may end later
            self._failures = self._failures + 1 if failed else 0


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The seconds to wait that a ``Retry-After`` header asks for. None if it has none or is malformed.

    Args:
        header: a number of seconds, or a date.
        now: with time zone.

    >>> retry_after_s("120", datetime(2026, 1, 1, tzinfo=timezone.utc))
    120.0
    >>> retry_after_s("Thu, 01 Jan 2026 00:01:00 GMT", datetime(2026, 1, 1, tzinfo=timezone.utc))
    60.0
    """
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    if date.tzinfo is None:  # as of "-0000"
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - now).total_seconds())
