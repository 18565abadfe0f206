"""``python preprocess.py``: the steps in the order in which data flows.

data set -> instances -> sources -> cuts -> clips, proofs and frames -> manifest rows -> audit -> report
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from asl.contract.frame_store import check_space
from asl.contract.label_map import read_or_write_label_map
from asl.errors import UserError
from asl.preprocess import WORKER_MODULES
from asl.preprocess.audit.audit_clips import audit_clips
from asl.preprocess.audit.confirm import compare_proposals
from asl.preprocess.audit.missing_clips import find_missing_clips
from asl.preprocess.audit.statistics import compute_statistics
from asl.preprocess.clips.backend import workers_for
from asl.preprocess.clips.cutting import cut_all
from asl.preprocess.clips.decord_probe import DecordProbe
from asl.preprocess.clips.folder_lock import locked_folders
from asl.preprocess.clips.frames import space_needed
from asl.preprocess.clips.manifest_rows import manifest_rows, stale_files
from asl.preprocess.clips.pack_frames import pack_frames
from asl.preprocess.clips.plan import Cut, plan_cuts
from asl.preprocess.clips.proof_log import ProofLog
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.gpu.backend import Backend, open_backend
from asl.preprocess.gpu.choice import encoder_for
from asl.preprocess.report.html.thumbnails import collect_shown_clips
from asl.preprocess.report.terminal import print_summary
from asl.preprocess.report.write import write_files
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.find import find_sources
from asl.terminal import count_progress, print_text
from asl.workers import Workers


class PreprocessError(UserError):
    """A run that gave no clip."""


def preprocess(config: PreprocessConfig) -> None:
    """Do the whole run that ``config`` describes, and print its results.

    Raises:
        UserError: the run could not be done, or gave no clip.
        SystemExit: with 1 if ``config.strict`` and a row was refused or a clip failed.
    """
    with ExitStack() as closing:
        backend = closing.enter_context(open_backend(config.trim, makes_frames=config.frames.enabled))
        workers = closing.enter_context(
            Workers(workers_for(backend.name, config.trim), nice=backend.niceness, preload=WORKER_MODULES)
        )
        _run(config, backend, workers, Console())


def _run(
    config: PreprocessConfig,
    backend: Backend,
    workers: Workers,
    console: Console,
) -> None:
    paths, timeout_s = config.paths, config.trim.timeout_s
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), _Clock()
    metadata, raw_dir = config.dataset.load_with_splits(), Path(config.dataset.root)
    label_of = read_or_write_label_map(paths.label_map(config.dataset.name), metadata.glosses)
    for note in filter(None, [*metadata.notes, metadata.made_splits]):
        print_text(console, note)
    if not metadata.published_frames and not all(one.path for one in metadata.instances):
        print_text(
            console,
            "no lengths of the source files were published with this data set, or none are given (WLASL: "
            "dataset.lengths): a raw file whose name several videos share is given to none of them",
        )
    with count_progress(console) as progress:
        sources = find_sources(
            metadata, raw_dir, paths, config.matching, workers, progress, timeout_s=timeout_s
        )
    choice, capabilities = backend.decide()
    print_text(console, f"trim: {choice}")
    clock.stop("matching")

    with locked_folders(Path(paths.videos_dir), Path(paths.frames_dir), Path(paths.metadata_dir)):
        cuts = plan_cuts(
            metadata.instances,
            sources.matches,
            sources.raw_videos,
            raw_dir=raw_dir,
            folders=metadata.folders,
            paths=paths,
            encoder=encoder_for(choice.name, config.trim, capabilities),
            audio=config.trim.audio,
            frames=config.frames if config.frames.enabled else None,
            fps=metadata.fps,
            end_tolerance_s=config.matching.end_tolerance_s,
        )
        _check_space(cuts, Path(paths.frames_dir), console)
        with count_progress(console) as progress:
            cut_results = cut_all(
                cuts,
                ProofLog(paths.proof_log),
                workers,
                progress,
                frames_dir=Path(paths.frames_dir),
                accelerator=backend.accelerator,
                overwrite=config.overwrite,
                timeout_s=timeout_s,
            )
        clock.stop("cutting")

        proofs = cut_results.proofs
        proven = manifest_rows(
            metadata.instances,
            sources.matches,
            proofs,
            label_of,
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
            capabilities=capabilities,
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
                paths, (c.target for c in cuts if c.video_id in proofs), dataset=config.dataset.name
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
