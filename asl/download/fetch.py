"""Fetch the files of a plan: hosts side by side, each at its pace. Complete videos get their names."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from glob import escape
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from asl.download.failure import FIND_ANOTHER, RUN_AGAIN, Failure, FetchError, not_writable
from asl.download.hosts import Host
from asl.download.http import HttpClient
from asl.download.log import Done, DownloadLog
from asl.download.plan import Fetch
from asl.download.settings import PROBE_TIMEOUT_S, DownloadSettings
from asl.download.youtube import fetch_youtube
from asl.files import PART, atomic_link
from asl.preprocess.sources.raw_files import probe_raw
from asl.workers import Failed, Workers

T = TypeVar("T")

#: Seconds before a second attempt at a file, doubled for each further one, where the host names none.
PAUSE_S = 1.0

_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")


class Fetcher:
    """Fetches the files of a plan into the raw folder.

    Args:
        settings: how.
        raw_dir: the raw folder; no other run writes to it.
        log: what happened to each URL.
        workers: processes that open what was fetched.
        on_done: called after each file, with its size in bytes, or None if it failed.
    """

    def __init__(
        self,
        settings: DownloadSettings,
        raw_dir: Path,
        log: DownloadLog,
        workers: Workers,
        on_done: Callable[[int | None], None],
    ) -> None:
        self._settings, self._raw_dir, self._log = settings, raw_dir, log
        self._workers, self._on_done = workers, on_done
        self._hosts: defaultdict[str, Host] = defaultdict(
            lambda: Host(interval_s=settings.interval_s, give_up_after=settings.give_up_after)
        )
        self._stop = Event()

    async def fetch_all(self, fetches: Sequence[Fetch]) -> None:
        """Fetch them all. What fails is in the log.

        Raises:
            UserError: the raw folder cannot be written; the other transfers are ended.
        """
        queues: defaultdict[str, deque[Fetch]] = defaultdict(deque)
        for fetch in fetches:
            queues[fetch.host].append(fetch)
        per_host = self._settings.per_host
        limit = asyncio.Semaphore(self._settings.hosts * per_host)
        async with HttpClient(self._settings, self._hosts.__getitem__, self._log) as client:
            tasks = [
                asyncio.create_task(self._serve(host, queues[host], client, limit))
                for host in sorted(queues, key=lambda host: -len(queues[host]))  # the longest queue first
                for _ in range(per_host)
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                self._stop.set()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(
        self, host: str, queue: deque[Fetch], client: HttpClient, limit: asyncio.Semaphore
    ) -> None:
        """Fetch the files of one host, one after another."""
        async with limit:
            while queue:
                await self._fetch(queue.popleft(), self._hosts[host], client)

    async def _fetch(self, fetch: Fetch, host: Host, client: HttpClient) -> None:
        """Fetch one file, with several attempts. What fails is logged."""
        try:
            if host.is_given_up:
                raise FetchError(
                    Failure(
                        reason="host left alone",
                        detail=f"not tried: {fetch.host} failed for other files before",
                        advice=RUN_AGAIN,
                    )
                )
            try:
                file = await self._attempts(fetch, host, client)
            except FetchError as error:
                host.ended(failed=error.blames_host)
                raise
            host.ended(failed=False)
            num_bytes = await self._publish(fetch, file)
        except FetchError as error:
            self._log.add(fetch.url, error.failure)
            if error.failure.permanent:
                self._remove_parts(fetch)
            self._on_done(None)
        else:
            self._remove_parts(fetch)
            self._on_done(num_bytes)

    def _remove_parts(self, fetch: Fetch) -> None:
        """Remove a video's temporary files. One of YouTube may have left some in other formats."""
        if fetch.youtube_id is None:
            self._part(fetch).unlink(missing_ok=True)
            return
        for part in self._raw_dir.glob(f"{escape(_part_stem(fetch))}*"):
            part.unlink()

    def _part(self, fetch: Fetch) -> Path:
        """The temporary file of a direct link."""
        return self._raw_dir / f"{_part_stem(fetch)}{Path(fetch.names[0]).suffix}"

    async def _attempts(self, fetch: Fetch, host: Host, client: HttpClient) -> Path:
        """The complete file under its temporary name."""
        part = self._part(fetch)
        spent_s, failed, largest = 0.0, 0, _size(part)
        while True:
            await host.turn()
            started_s = time.monotonic()
            try:
                if fetch.youtube_id is not None:
                    return await _in_thread(
                        partial(fetch_youtube, fetch.youtube_id, self._raw_dir, self._settings, self._stop)
                    )
                await client.fetch(fetch.url, part, time_left_s=self._settings.file_timeout_s - spent_s)
                return part
            except FetchError as error:
                spent_s += time.monotonic() - started_s
                failed = 1 if _size(part) > largest else failed + 1
                largest = max(largest, _size(part))
                if error.wait_s is not None and error.wait_s > self._settings.max_wait_s:
                    host.give_up()
                if (
                    not error.again
                    or failed >= self._settings.tries
                    or host.is_given_up
                    or spent_s >= self._settings.file_timeout_s
                ):
                    raise
                host.wait(PAUSE_S * 2 ** (failed - 1) if error.wait_s is None else error.wait_s)

    async def _publish(self, fetch: Fetch, file: Path) -> int:
        """Open a complete file; if it is a video, give it its names. Returns its size in bytes."""
        num_bytes = _size(file)
        if num_bytes == 0:
            raise FetchError(Failure(reason="empty file", detail="the file has no bytes", advice=RUN_AGAIN))
        ended = await self._workers.run(probe_raw, file, timeout_s=PROBE_TIMEOUT_S)
        if isinstance(ended, Failed):
            raise _no_video(file, ended)
        name = fetch.names[0] if fetch.youtube_id is None else f"{fetch.youtube_id}{file.suffix}"
        target = self._raw_dir / name
        try:
            file.replace(target)
            for other in fetch.names[1:]:
                atomic_link(target, self._raw_dir / other)
        except OSError as error:
            raise not_writable(self._raw_dir, error) from None
        self._log.add(fetch.url, Done(name, num_bytes))
        return num_bytes


def _no_video(file: Path, ended: Failed[Path]) -> FetchError:
    """The error for a file that could not be opened as a video.

    A worker that was too slow or ended may have lacked time or memory, so the file is kept for a later run.
    """
    if ended.error is None:
        return FetchError(
            Failure(
                reason="not opened", detail=f"the file is complete, but it {ended.message}", advice=RUN_AGAIN
            )
        )
    with file.open("rb") as content:
        is_page = content.read(512).lstrip().lower().startswith(_PAGES)
    if is_page:
        failure = Failure(
            reason="web page",
            detail="a web page, not a video",
            advice=f"open the URL in a browser, it may ask for a login; otherwise {FIND_ANOTHER}",
            permanent=True,
        )
    else:
        failure = Failure(
            reason="no video",
            detail=f"the file ({_size(file):,} bytes) is no video: it {ended.error}",
            advice=FIND_ANOTHER,
            permanent=True,
        )
    return FetchError(failure)


def _part_stem(fetch: Fetch) -> str:
    """The beginning of the names of a video's temporary files. Matching skips names with a dot first."""
    return f".{Path(fetch.names[0]).stem if fetch.youtube_id is None else fetch.youtube_id}{PART}"


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 if there is none."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


async def _in_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread that the end of the program does not wait for."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def call() -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the run has ended
            loop.call_soon_threadsafe(settle, value, error)

    Thread(target=call, daemon=True).start()
    return await result
