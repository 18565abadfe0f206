"""``python preprocess.py``: the steps in the order in which data flows.

data set -> instances -> sources -> cuts -> clips, proofs and frames -> manifest rows -> audit -> report

A shard ends with the clips of its share. A merge takes the clips from the shards.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from asl.codecs.video_file import NOT_WRITABLE
from asl.contract.frame_store import check_space
from asl.contract.paths import SHARDS, Paths
from asl.errors import UserError
from asl.files import remove_temp_files
from asl.preprocess import WORKER_MODULES
from asl.preprocess.audit.audit_clips import audit_clips
from asl.preprocess.audit.confirm import compare_proposals
from asl.preprocess.audit.missing_clips import find_missing_clips
from asl.preprocess.audit.statistics import compute_statistics
from asl.preprocess.clips.backend import workers_for
from asl.preprocess.clips.cutting import CutResults, cut_all
from asl.preprocess.clips.decord_probe import DecordProbe
from asl.preprocess.clips.folder_lock import Run, locked_folders
from asl.preprocess.clips.frames import space_needed
from asl.preprocess.clips.manifest_rows import manifest_rows, stale_files
from asl.preprocess.clips.pack_frames import pack_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof_log import ProofLog, join_logs, request_of
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.gpu.backend import NO_BACKEND, Backend, check_device, open_backend
from asl.preprocess.report.html.thumbnails import collect_shown_clips
from asl.preprocess.report.terminal import print_summary
from asl.preprocess.report.write import write_files
from asl.preprocess.run_plan import plan_run
from asl.preprocess.run_result import RunResult
from asl.preprocess.shards.files import ShardFiles, proof_logs, raw_video_caches
from asl.preprocess.shards.merge import find_count, join_shards, merge_command
from asl.preprocess.shards.record import quality_of, recorded
from asl.preprocess.shards.shares import cuts_of_shards
from asl.preprocess.sources.raw_files import RawVideoCache, join_caches
from asl.terminal import count_progress, print_text
from asl.workers import Workers


class PreprocessError(UserError):
    """A run that gave no clip, or could not write some."""


def preprocess(config: PreprocessConfig) -> None:
    """Do the whole run that ``config`` describes, and print its results.

    Raises:
        UserError: the run could not be done, or gave no clip.
        UnfinishedShardsError: ``config.merge``, but shards have not done their work; it has their indices.
        SystemExit: with 1 if ``config.strict`` and a row was refused or a clip failed.
    """
    index, console, paths = config.shard.index, Console(), config.paths
    count = config.shard.count
    if count is None and config.merge:
        count = find_count(paths, config.dataset.name)
    if not config.merge:
        check_device(config.trim)  # before a folder is made
    with ExitStack() as closing:
        run = closing.enter_context(  # before the workers start, and until they have ended
            locked_folders(
                *(Path(folder) for folder in (paths.videos_dir, paths.frames_dir, paths.metadata_dir)),
                shards="" if index is None else f"{config.dataset.name}{SHARDS}{count}",
                shard=-1 if index is None else index,
                on_wait=partial(print_text, console),
            )
        )
        backend = closing.enter_context(
            nullcontext(NO_BACKEND)
            if config.merge
            else open_backend(config.trim, makes_frames=config.frames.enabled)
        )
        workers = closing.enter_context(
            Workers(workers_for(backend.name, config.trim), nice=backend.niceness, preload=WORKER_MODULES)
        )
        if index is not None:
            _run_shard(config, run, backend, workers, console)
        else:
            _run(config, count, backend, workers, console)


def _run_shard(
    config: PreprocessConfig, run: Run, backend: Backend, workers: Workers, console: Console
) -> None:
    """Cut the clips of one shard, and leave a record of it for the merge."""
    index, count = config.shard.index, config.shard.count
    assert index is not None
    assert count is not None
    paths, metadata_dir = config.paths, Path(config.paths.metadata_dir)
    files = ShardFiles(paths.shards(config.dataset.name, count), index)
    _remove_temp_files(paths)
    with recorded(files.record, run) as record:
        cache = RawVideoCache(
            Path(config.dataset.root),
            files.raw_videos,
            lambda: [paths.raw_videos, *raw_video_caches(metadata_dir)],
        )
        plan = plan_run(config, cache, backend, workers, console, shard=(index, count))
        cuts = cuts_of_shards(plan.cuts, files.folder, count, raw_dir=Path(config.dataset.root))[index]
        asked = {cut.video_id: request_of(cut) for cut in cuts}
        log = ProofLog(files.proof_log, others=[paths.proof_log, *proof_logs(metadata_dir)], only=asked)
        results = _cut(config, cuts, log, backend, workers, console)
        record.backend, record.encoder = plan.choice.name, plan.encoder.as_dict()
        record.quality = quality_of(config.trim)
        record.take(cuts, asked, results)
        unwritten = [one.error for one in results.failures.values() if one.reason == NOT_WRITABLE]
        if unwritten:
            raise PreprocessError(f"{len(unwritten)} clips could not be written: {unwritten[0]}")
    print_text(
        console,
        f"shard.index={index} of {count}: {record.clips} clips of {record.sources} sources in "
        f"{record.seconds:.1f} s, {record.reused} of these from an earlier run; {len(record.failures)} "
        f"failed. After all shards: {merge_command(count)}",
    )


def _run(
    config: PreprocessConfig, count: int | None, backend: Backend, workers: Workers, console: Console
) -> None:
    """Make or merge the whole data set.

    Args:
        config: all settings.
        count: number of shards that are merged; None: this run cuts the clips.
        backend: cuts.
        workers: of the host.
        console: for messages.
    """
    paths, timeout_s, metadata_dir = config.paths, config.trim.timeout_s, Path(config.paths.metadata_dir)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), _Clock()
    there = _remove_temp_files(paths)
    join_caches(paths.raw_videos, raw_video_caches(metadata_dir))
    plan = plan_run(
        config, RawVideoCache(Path(config.dataset.root), paths.raw_videos), backend, workers, console
    )
    metadata, sources, cuts = plan.metadata, plan.sources, plan.cuts
    clock.stop("matching")

    join_logs(paths.proof_log, proof_logs(metadata_dir))
    log = ProofLog(paths.proof_log)
    if count is None:
        choice, cut_results = plan.choice, _cut(config, cuts, log, backend, workers, console)
    else:
        folder = paths.shards(config.dataset.name, count)
        cut_results, choice = join_shards(
            cuts_of_shards(cuts, folder, count, raw_dir=Path(config.dataset.root)),
            folder,
            log,
            quality=quality_of(config.trim),
            read_bytes=config.verify == "full",
        )
    clock.stop("cutting")

    proofs = cut_results.proofs
    proven = manifest_rows(
        metadata.instances,
        sources.matches,
        proofs,
        plan.label_of,
        paths,
        dataset=config.dataset.name,
        folders=metadata.folders,
        raw_videos=sources.raw_videos,
    )
    probe = DecordProbe(
        proven,
        data_dir=Path(paths.data_dir),
        count=config.probe,
        seed=config.seed,
        workers=workers,
        timeout_s=timeout_s,
    )
    with count_progress(console) as progress:
        compare = partial(
            compare_proposals,
            clips=proven,
            digests={video_id: proof.digest for video_id, proof in proofs.items()},
            data_dir=Path(paths.data_dir),
            workers=workers,
            progress=progress,
            timeout_s=timeout_s,
        )
        clips, audit, dropped = audit_clips(
            proven, metadata.instances, sources.matches, proofs, config.audit, compare
        )
    missing = find_missing_clips(metadata, sources.matches, cut_results.failures, dropped)
    clock.stop("auditing")
    result = RunResult(
        config=config,
        choice=choice,
        capabilities=plan.capabilities,
        metadata=metadata,
        raw_files=sources.files,
        raw_videos=sources.raw_videos,
        matches=sources.matches,
        cut_results=cut_results,
        clips=clips,
        missing=missing,
        audit=audit,
        statistics=compute_statistics(
            metadata=metadata,
            matches=sources.matches,
            clips=clips,
            missing=missing,
            proofs=proofs,
            raw_videos=sources.raw_videos,
        ),
        url_name_errors=sources.url_name_errors,
        stale=stale_files(
            paths, there, (c.target for c in cuts if c.video_id in proofs), dataset=config.dataset.name
        ),
        started=started,
        seconds=clock.seconds,
    )
    shown = collect_shown_clips(result, paths, workers)
    clock.stop("pictures")
    written = write_files(result, paths, shown)
    if config.frames.pack and config.frames.enabled:
        with count_progress(console) as progress:
            pack_frames(Path(paths.frames_dir) / config.frames.name, progress)

    print_summary(result, console)
    for probed in probe.results():
        console.print(probed.message, style=None if probed.agrees else "red", soft_wrap=True, markup=False)
    print_text(console, "\n" + "\n".join(f"{name:<9} {path}" for name, path in written.items()))
    _end(result, written["errors"], console)


def _cut(
    config: PreprocessConfig,
    cuts: Sequence[Cut],
    log: ProofLog,
    backend: Backend,
    workers: Workers,
    console: Console,
) -> CutResults:
    """Make the clips that are not made yet."""
    frames_dir = Path(config.paths.frames_dir)
    _check_space(cuts, frames_dir, console)
    with count_progress(console) as progress:
        return cut_all(
            cuts,
            log,
            workers,
            progress,
            frames_dir=frames_dir,
            accelerator=backend.accelerator,
            overwrite=config.overwrite,
            read_bytes=config.verify == "full",
            timeout_s=config.trim.timeout_s,
        )


def _remove_temp_files(paths: Paths) -> list[str]:
    """Remove what killed runs left. Returns the files in the folder of clips, relative to it."""
    for folder in (paths.frames_dir, paths.metadata_dir):
        remove_temp_files(Path(folder))
    return remove_temp_files(Path(paths.videos_dir))


def _end(result: RunResult, errors: Path, console: Console) -> None:
    """Raise PreprocessError if there is no clip; exit with 1 if ``strict`` asks for it."""
    if not result.clips:
        raise PreprocessError(
            f"not one clip came out of {len(result.metadata.instances)} instances and "
            f"{len(result.raw_files)} files in {result.config.dataset.root}. {errors} says for "
            "each what to do"
        )
    failed = sum(missing.is_failure for missing in result.missing)
    if failed and result.config.strict:
        print_text(console, f"strict=true: {failed} rows were refused or failed, see {errors}")
        sys.exit(1)


def _check_space(cuts: Sequence[Cut], frames_dir: Path, console: Console) -> None:
    """Print how much space the frames will need. Raises FrameStoreError if the disk has less."""
    clips, needed = space_needed(cuts)
    if clips:
        print_text(console, check_space(frames_dir, needed, clips))


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stop(self, step: str) -> None:
        """Store the seconds since the last stop under the name of the step."""
        now = time.monotonic()
        self.seconds[step], self._last = round(now - self._last, 2), now
