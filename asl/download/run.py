"""``python download.py``: the steps in the order in which data flows.

data set -> instances -> sources that are there -> plan -> files -> sources for preprocess.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from asl.contract.paths import Paths
from asl.datasets.instance import Metadata
from asl.download.config import DownloadConfig
from asl.download.console import print_plan, print_result
from asl.download.errors_file import not_downloaded, write_not_downloaded
from asl.download.failure import not_writable
from asl.download.log import DownloadLog
from asl.download.plan import Fetch, Plan, plan_downloads
from asl.download.settings import PROBE_TIMEOUT_S, DownloadSettings
from asl.errors import UserError
from asl.files import atomic_link
from asl.machine import FileLockedError, FileLocksUnsupportedError, lock_file
from asl.messages import format_bytes
from asl.preprocess.sources.find import find_sources
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideoCache
from asl.preprocess.sources.settings import MatchingSettings
from asl.terminal import count_progress
from asl.workers import Workers


class NothingToUseError(UserError):
    """After a run, no instance has a source."""


def download(config: DownloadConfig) -> None:
    """Do the whole run that ``config`` describes, and print its results.

    Raises:
        UserError: the run could not be done, or no instance has a source.
    """
    console, settings = Console(), config.download
    if settings.cookies is not None and not Path(settings.cookies).is_file():
        raise UserError(f"download.cookies={settings.cookies}: no such file")
    metadata, raw_dir = config.dataset.load_with_splits(), Path(config.dataset.root)
    lock = raw_dir / ".lock"
    try:
        raw_dir.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise not_writable(raw_dir, error) from None
    with Workers(preload=["asl.preprocess.sources.raw_files"]) as workers:
        try:
            with lock_file(lock):
                _run(config, metadata, raw_dir, workers, console)
        except FileLocksUnsupportedError as error:
            raise UserError(f"{error}: dataset.root=...") from None
        except FileLockedError:
            raise UserError(
                f"another run downloads to {raw_dir}. Wait for it, or use another dataset.root"
            ) from None


def _run(
    config: DownloadConfig, metadata: Metadata, raw_dir: Path, workers: Workers, console: Console
) -> None:
    paths, settings = config.paths, config.download
    plan = plan_downloads(metadata, _sources(metadata, raw_dir, paths, workers, console))
    log = DownloadLog(paths.download_log)
    wanted = [fetch for fetch in plan.fetches if settings.youtube or fetch.youtube_id is None]
    lost = [] if settings.retry_permanent else [fetch for fetch in wanted if _is_lost(fetch, log)]
    wanted = [fetch for fetch in wanted if settings.retry_permanent or not _is_lost(fetch, log)]
    print_plan(plan, wanted, lost, settings, console)
    if config.dry_run:
        return

    errors = paths.download_errors(config.dataset.name)
    try:
        _link(plan, raw_dir)
        if wanted:
            _fetch(wanted, raw_dir, settings, log, workers, console)
    finally:
        write_not_downloaded(errors, not_downloaded(plan, log))
    matches = _sources(metadata, raw_dir, paths, workers, console)
    print_result(metadata, matches, [*not_downloaded(plan, log)], errors, console)
    if not any(isinstance(found, Match) for found in matches.values()):
        raise NothingToUseError(
            f"not one of {len(matches)} instances has a file in {raw_dir}. {errors} says for each why "
            "and what to do"
        )


def _sources(
    metadata: Metadata, raw_dir: Path, paths: Paths, workers: Workers, console: Console
) -> dict[str, Match | Unmatched]:
    """What ``preprocess.py`` would use, by video_id."""
    with count_progress(console) as progress:
        sources = find_sources(
            metadata,
            raw_dir,
            paths,
            MatchingSettings(),
            workers,
            progress,
            cache=RawVideoCache(raw_dir, paths.raw_videos),
            timeout_s=PROBE_TIMEOUT_S,
        )
    return dict(sources.matches)


def _is_lost(fetch: Fetch, log: DownloadLog) -> bool:
    """Whether its URL failed for good in an earlier run."""
    failed = log.failure(fetch.url)
    return failed is not None and failed[1].permanent


def _link(plan: Plan, raw_dir: Path) -> None:
    """Give videos that are there the names of their other instances."""
    for fetch in plan.links:
        assert fetch.source is not None
        for name in fetch.names:
            try:
                atomic_link(raw_dir / fetch.source, raw_dir / name)
            except OSError as error:
                raise not_writable(raw_dir, error) from None


def _fetch(
    wanted: Sequence[Fetch],
    raw_dir: Path,
    settings: DownloadSettings,
    log: DownloadLog,
    workers: Workers,
    console: Console,
) -> None:
    """Fetch files, with a bar."""
    try:
        from asl.download.fetch import Fetcher
    except ModuleNotFoundError as error:
        raise UserError(
            f"downloads need the package {error.name}: make install, or pip install 'asl[download]'"
        ) from None
    with count_progress(console) as progress:
        bar = progress.add_task("downloading", total=len(wanted))
        total = failed = 0

        def count(num_bytes: int | None) -> None:
            nonlocal total, failed
            total, failed = total + (num_bytes or 0), failed + (num_bytes is None)
            said = f"downloading: {format_bytes(total)}, {failed} failed"
            progress.update(bar, advance=1, description=said)

        fetcher = Fetcher(settings, raw_dir, log, workers, count)
        asyncio.run(fetcher.fetch_all(wanted))
