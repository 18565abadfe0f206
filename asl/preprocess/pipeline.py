"""``python preprocess.py``: the steps in the order in which data flows."""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asl.config import PreprocessConfig
from asl.contract.frame_store import check_space
from asl.contract.label_map import read_or_write_label_map
from asl.contract.manifest import SPLITS, Clip, write_manifest
from asl.contract.paths import Paths
from asl.data.split import signer_folds
from asl.datasets.instance import Metadata
from asl.datasets.wlasl import find_lengths, load_lengths, load_metadata
from asl.errors import UserError
from asl.files import atomic_write_text
from asl.preprocess.audit.audit import Audit, audit
from asl.preprocess.audit.manifest_columns import leaking_train_clips, with_flags_and_copies
from asl.preprocess.audit.missing_clips import find_missing_clips, write_missing_clips
from asl.preprocess.audit.pairs import find_pairs
from asl.preprocess.audit.statistics import compute_statistics
from asl.preprocess.clips.backend import Choice, decide, encoder_for, workers_for
from asl.preprocess.clips.cutting import CutResults, clip_path, cut_all, only_run, plan_cuts
from asl.preprocess.clips.decord_probe import probe_with_decord
from asl.preprocess.clips.frames import space_needed
from asl.preprocess.clips.proof_log import ProofLog
from asl.preprocess.clips.trim import Cut
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.gpu.frame_jobs import Gpu, start_gpu
from asl.preprocess.report.html.page import write_page
from asl.preprocess.report.html.thumbnails import ShownClips, collect_shown_clips
from asl.preprocess.report.summary import summarize
from asl.preprocess.report.terminal import print_summary
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import (
    Evidence,
    Match,
    Unmatched,
    UrlNameErrors,
    claims,
    match,
    match_by_url_name,
    url_name_errors,
)
from asl.preprocess.sources.raw_files import RawVideo, RawVideos, scan_raw
from asl.workers import Failed, Workers

_NICE = 5  # of the host's workers beside a GPU's


class PreprocessError(UserError):
    """A run that could not give a manifest."""


def preprocess(config: PreprocessConfig) -> None:
    """Do the whole run that ``config`` describes, and tell on the terminal what came of it.

    Raises:
        UserError: nothing could be done at all, or not one clip came out.
        SystemExit: with 1 if ``config.strict`` and a row was refused or a clip failed.
    """
    with ExitStack() as closing:
        gpu = None
        if config.trim.name == "dali" and config.frames.enabled:  # it warms up while the machine is looked at
            gpu = closing.enter_context(start_gpu(config.trim.timeout_s))
        choice, capabilities = decide(config.trim.name)
        # What drives a GPU works in short bursts for which the GPU waits.
        nice = 0 if gpu is None else _NICE
        workers = closing.enter_context(Workers(workers_for(choice.name, config.trim), nice=nice))
        _preprocess(config, choice, capabilities, workers, gpu)


def _preprocess(
    config: PreprocessConfig,
    choice: Choice,
    capabilities: Capabilities | None,
    workers: Workers,
    gpu: Gpu | None,
) -> None:
    console = Console()
    console.print(f"trim: {choice}", soft_wrap=True, markup=False, highlight=False)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), _Clock()
    videos_dir, metadata_dir = Path(config.paths.videos_dir), Path(config.paths.metadata_dir)

    metadata, label_of = _load(config)
    sources = _find_sources(config, metadata, workers, console)
    clock.stop("matching")
    with only_run(videos_dir, Path(config.paths.frames_dir)):
        log = ProofLog(metadata_dir / "clip_proofs.jsonl")
        encoder = encoder_for(choice.name, config.trim, capabilities)
        cuts = plan_cuts(config, encoder, metadata.instances, sources.matches, sources.raw_videos)
        _tell_space(config, cuts, console)
        with _progress(console) as progress:
            outcome = cut_all(config, cuts, log, workers, progress, gpu=gpu)
        clock.stop("cutting")

        stale = _stale(videos_dir, (cut.target for cut in cuts if cut.video_id in outcome.proofs))
        resplit = _resplit(config, metadata)
        clips = _clips(config, metadata, resplit, sources.matches, label_of, outcome)
        probe = _Probe(config, clips, workers)
        clips, found, dropped = _audit(config, resplit, clips, sources.matches, outcome)
        clock.stop("auditing")
        missing = find_missing_clips(resplit, sources.matches, outcome.failures, dropped)
        result = RunResult(
            config=config,
            choice=choice,
            capabilities=capabilities,
            metadata=resplit,
            raw_files=sources.files,
            raw_videos=sources.raw_videos,
            matches=sources.matches,
            cut_results=outcome,
            clips=clips,
            missing=missing,
            audit=found,
            statistics=compute_statistics(
                metadata=resplit,
                matches=sources.matches,
                clips=clips,
                missing=missing,
                proofs=outcome.proofs,
                raw_videos=sources.raw_videos,
            ),
            url_name_errors=sources.url_name_errors,
            stale=stale,
            started=started,
            seconds=clock.seconds,
        )
        paths = Paths(**dataclasses.asdict(config.paths))
        shown = collect_shown_clips(result, paths, workers)
        clock.stop("pictures")
        written = _write(result, paths, shown)

    print_summary(result, console)
    probe.show(console)
    console.print()
    for name, path in written.items():
        console.print(f"{name:<9} {path}", soft_wrap=True, markup=False, highlight=False)
    if not clips:
        raise PreprocessError(
            f"not one clip came out of {len(metadata.instances)} instances and {len(sources.files)} files in "
            f"{config.paths.raw_dir}. {written['errors']} says for each what to do"
        )
    failed = result.statistics.failures
    if failed and config.strict:
        console.print(f"strict=true: {failed} rows were refused or failed, see {written['errors']}")
        sys.exit(1)


# ---------------------------------------------------------------- metadata and sources


def _load(config: PreprocessConfig) -> tuple[Metadata, dict[str, int]]:
    metadata = load_metadata(
        Path(config.dataset.metadata),
        num_glosses=config.dataset.num_glosses,
        fps=config.dataset.fps,
        how_to_get=config.dataset.how_to_get,
    )
    label_map = Path(config.paths.metadata_dir) / f"{config.dataset.name}_label_map.json"
    return metadata, read_or_write_label_map(label_map, metadata.glosses)


@dataclasses.dataclass(frozen=True)
class _Sources:
    files: Sequence[str]
    raw_videos: Mapping[str, RawVideo]
    matches: Mapping[str, Match | Unmatched]
    url_name_errors: UrlNameErrors


def _find_sources(
    config: PreprocessConfig, metadata: Metadata, workers: Workers, console: Console
) -> _Sources:
    raw_dir = Path(config.paths.raw_dir)
    files = scan_raw(raw_dir)
    claimed = claims([*metadata.instances, *metadata.others], files)
    lengths = find_lengths(config.dataset.lengths, Path(config.dataset.metadata), config.dataset.num_glosses)
    ends = {} if lengths is None else load_lengths(lengths)
    if lengths is None:
        console.print(
            "no published lengths (dataset.lengths): files that several videos could mean go to nobody",
            soft_wrap=True,
        )
    known = RawVideos(raw_dir, Path(config.paths.metadata_dir) / "raw_videos.json")
    with _progress(console) as progress:
        bar = progress.add_task("opening raw videos", total=len(claimed))
        raw_videos = known.probe(
            claimed,
            workers,
            timeout_s=config.trim.timeout_s,
            on_done=lambda: progress.advance(bar),
        )
    evidence = Evidence(raw_videos, ends, config.dataset.fps)
    if config.matching.policy == "url_name":
        matches = match_by_url_name(metadata.instances, files)
    else:
        matches = match(metadata.instances, claimed, evidence, suspect=config.matching.suspect)
    errors = url_name_errors(metadata.instances, files, claimed, evidence)
    return _Sources(files, raw_videos, matches, errors)


def _tell_space(config: PreprocessConfig, cuts: Sequence[Cut], console: Console) -> None:
    """Say what the frames will take. Raises FrameStoreError if the disk has not that much."""
    clips, needed = space_needed(cuts)
    if clips:
        told = check_space(Path(config.paths.frames_dir), needed, clips)
        console.print(told, soft_wrap=True, markup=False, highlight=False)


# ---------------------------------------------------------------- the finished data set


def _resplit(config: PreprocessConfig, metadata: Metadata) -> Metadata:
    if config.dataset.split == "official":
        return metadata
    instances = signer_folds(
        metadata.instances, folds=config.dataset.folds, fold=config.dataset.fold, seed=config.seed
    )
    return dataclasses.replace(metadata, instances=instances)


def _clips(
    config: PreprocessConfig,
    metadata: Metadata,
    resplit: Metadata,
    matches: Mapping[str, Match | Unmatched],
    label_of: Mapping[str, int],
    outcome: CutResults,
) -> list[Clip]:
    """The manifest's rows, from this run's proofs alone, by split, label and video_id."""
    clips = []
    for official, instance in zip(metadata.instances, resplit.instances, strict=True):
        proof, found = outcome.proofs.get(instance.video_id), matches[instance.video_id]
        if proof is None or isinstance(found, Unmatched):
            continue
        clips.append(
            Clip(
                split=instance.split,
                gloss=instance.gloss,
                label=label_of[instance.gloss],
                video_id=instance.video_id,
                path=_relative(clip_path(config, official), Path(config.paths.data_dir)),
                num_frames=proof.num_frames,
                fps=round(proof.fps, 6),
                duration_s=round(proof.duration_s, 6),
                width=proof.width,
                height=proof.height,
                signer_id=instance.signer_id,
                source=found.source,
                start_s=round(proof.start_s, 6),
                end_s=round(proof.end_s, 6),
                match=found.rule,
            )
        )
    return sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.label, clip.video_id))


def _audit(
    config: PreprocessConfig,
    metadata: Metadata,
    clips: Sequence[Clip],
    matches: Mapping[str, Match | Unmatched],
    outcome: CutResults,
) -> tuple[list[Clip], Audit, dict[str, list[str]]]:
    """The clips that stay, with flags and copies; the audit; and the copies of each dropped clip."""
    fingerprints = {
        clip.video_id: (outcome.proofs[clip.video_id].fingerprint, clip.duration_s) for clip in clips
    }
    pairs = find_pairs(metadata.instances, fingerprints)
    dropped = leaking_train_clips(pairs, clips) if config.audit.leakage == "drop_train" else {}
    clips = [clip for clip in clips if clip.video_id not in dropped]
    suspects = [video_id for video_id, one in matches.items() if isinstance(one, Match) and one.doubt]
    found = audit(metadata.instances, clips, pairs, min_per_class=config.audit.min_per_class, dropped=dropped)
    return with_flags_and_copies(clips, pairs, suspects), found, dropped


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:  # videos elsewhere
        return path.resolve().as_posix()


def _stale(videos_dir: Path, owned: Iterable[Path]) -> list[str]:
    """Files in the clips' folder that this run does not vouch for."""
    vouched = {path.resolve() for path in owned}
    return sorted(
        path.relative_to(videos_dir).as_posix()
        for path in videos_dir.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.resolve() not in vouched
    )


# ---------------------------------------------------------------- telling


def _write(result: RunResult, paths: Paths, shown: ShownClips) -> dict[str, Path]:
    """Write every file of the run. The manifest is last: if it is new, the others are."""
    written = {
        "errors": paths.errors,
        "audit": paths.audit,
        "summary": paths.summary,
        "report": paths.report,
        "manifest": paths.manifest(result.config.dataset.name),
    }
    write_missing_clips(paths.errors, result.missing)
    atomic_write_text(paths.audit, json.dumps(result.audit.as_dict(), indent=1, ensure_ascii=False))
    atomic_write_text(paths.summary, json.dumps(summarize(result), indent=1, ensure_ascii=False))
    write_page(paths.report, result, shown)
    write_manifest(paths.manifest(result.config.dataset.name), result.clips)
    return written


class _Probe:
    """Opens a few random clips with decord, the reader of training, while the run goes on."""

    def __init__(self, config: PreprocessConfig, clips: Sequence[Clip], workers: Workers) -> None:
        chosen = random.Random(config.seed).sample(list(clips), min(config.probe, len(clips)))
        self._clip_of = {str(Path(config.paths.data_dir) / clip.path): clip for clip in chosen}
        paths = list(self._clip_of)
        self._results = workers.run_each(probe_with_decord, paths, timeout_s=config.trim.timeout_s)

    def show(self, console: Console) -> None:
        """Wait for them and tell whether they are what the manifest says."""
        for ended in self._results:
            clip = self._clip_of[ended.task]
            name = escape(clip.path)
            if isinstance(ended, Failed):
                console.print(f"[red]decord cannot read {name}: {escape(ended.message)}", soft_wrap=True)
                continue
            frames, height, width = ended.result
            meant = (clip.num_frames, clip.height, clip.width)
            verdict = (
                "as the manifest says" if ended.result == meant else f"[red]but the manifest says {meant}"
            )
            console.print(
                f"decord reads {name}: {frames} frames, {width}x{height}, {verdict}", soft_wrap=True
            )


class _Clock:
    """Seconds since the last stop, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stop(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step], self._last = round(now - self._last, 2), now


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield progress
