"""``python preprocess.py``: the steps in the order in which data flows."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asl.config import PreprocessConfig
from asl.contract.frame_store import FrameSpec, check_space
from asl.contract.label_map import read_or_write_label_map
from asl.contract.manifest import SPLITS, Clip, write_manifest
from asl.contract.paths import Paths
from asl.data.split import signer_folds
from asl.datasets.instance import Metadata
from asl.datasets.wlasl import find_lengths, load_lengths, load_metadata
from asl.errors import UserError
from asl.files import atomic_write_text
from asl.preprocess.audit.audit import Audit, audit, flagged, leaking_train_clips
from asl.preprocess.audit.problems import FAILURES, find_problems, write_problems
from asl.preprocess.clips.backend import Choice, workers_for
from asl.preprocess.clips.cutting import CutResults, cut_all
from asl.preprocess.clips.decord_probe import DecordProbe
from asl.preprocess.clips.folder_lock import locked_folders
from asl.preprocess.clips.frames import FrameOffload, NoOffload, space_needed
from asl.preprocess.clips.plan import Cut, plan_cuts
from asl.preprocess.clips.proof_log import ProofLog
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.gpu.choice import decide, encoder_for
from asl.preprocess.gpu.frame_offload import HOST_NICENESS, dali_offload
from asl.preprocess.report import summary
from asl.preprocess.report.page import write_report
from asl.preprocess.report.pictures import Pictures, take_pictures
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
from asl.workers import Workers


class PreprocessError(UserError):
    """A run that could not give a manifest."""


def preprocess(config: PreprocessConfig) -> None:
    """Do the whole run that ``config`` describes, and tell on the terminal what came of it.

    Raises:
        UserError: nothing could be done at all, or not one clip came out.
        SystemExit: with 1 if ``config.strict`` and a row was refused or a clip failed.
    """
    with ExitStack() as closing:
        offload: FrameOffload = NoOffload()
        nice = 0
        if (
            config.trim.name == "dali" and config.frames.enabled
        ):  # DALI is imported while the machine is probed
            offload = closing.enter_context(dali_offload(config.trim.timeout_s))
            nice = HOST_NICENESS
        choice, capabilities = decide(config.trim.name)
        workers = closing.enter_context(Workers(workers_for(choice.name, config.trim), nice=nice))
        _preprocess(config, choice, capabilities, workers, offload)


def _preprocess(
    config: PreprocessConfig,
    choice: Choice,
    capabilities: Capabilities | None,
    workers: Workers,
    offload: FrameOffload,
) -> None:
    console = Console()
    console.print(f"trim: {choice}", soft_wrap=True, markup=False, highlight=False)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), _Clock()
    paths = Paths(**vars(config.paths))
    videos_dir, frames_dir = Path(paths.videos_dir), Path(paths.frames_dir)

    metadata, label_of = _load(config)
    sources = _find_sources(config, metadata, workers, console)
    clock.stop("matching")
    with locked_folders(videos_dir, frames_dir):
        frames = FrameSpec(fps=config.frames.fps, short_side=config.frames.short_side)
        cuts = plan_cuts(
            metadata.instances,
            sources.matches,
            sources.raw_videos,
            paths=paths,
            encoder=encoder_for(choice.name, config.trim, capabilities),
            audio=config.trim.audio,
            frames=frames if config.frames.enabled else None,
            fps=config.dataset.fps,
            end_tolerance_s=config.matching.end_tolerance_s,
        )
        _tell_space(config, cuts, console)
        with _progress(console) as progress:
            outcome = cut_all(
                cuts,
                ProofLog(paths.proof_log),
                workers,
                progress,
                frames_dir=frames_dir,
                offload=offload,
                overwrite=config.overwrite,
                timeout_s=config.trim.timeout_s,
            )
        clock.stop("cutting")

        stale = _stale(videos_dir, (cut.target for cut in cuts if cut.video_id in outcome.proofs))
        resplit = _resplit(config, metadata)
        clips = _clips(config, metadata, resplit, sources.matches, label_of, outcome)
        probe = DecordProbe(
            clips,
            data_dir=Path(paths.data_dir),
            count=config.probe,
            seed=config.seed,
            workers=workers,
            timeout_s=config.trim.timeout_s,
        )
        clips, found, dropped = _audit(config, resplit, clips, sources.matches, outcome)
        clock.stop("auditing")
        findings = RunResult(
            config=config,
            choice=choice,
            capabilities=capabilities,
            metadata=resplit,
            raw_files=sources.files,
            raw_videos=sources.raw_videos,
            matches=sources.matches,
            outcome=outcome,
            clips=clips,
            problems=find_problems(resplit, sources.matches, outcome.failures, dropped),
            audit=found,
            url_name_errors=sources.url_name_errors,
            stale=stale,
            started=started,
            seconds=clock.seconds,
        )
        pictures = take_pictures(findings, workers)
        clock.stop("pictures")
        told = summary.summarise(findings)
        written = _write(findings, told, pictures)

    summary.show(told, console)
    for result in probe.results():
        style = None if result.agrees else "red"
        console.print(result.message, style=style, soft_wrap=True, markup=False)
    console.print()
    for name, path in written.items():
        console.print(f"{name:<9} {path}", soft_wrap=True, markup=False, highlight=False)
    if not clips:
        raise PreprocessError(
            f"not one clip came out of {len(metadata.instances)} instances and {len(sources.files)} files in "
            f"{config.paths.raw_dir}. {written['errors']} says for each what to do"
        )
    failed = sum(problem.stage in FAILURES for problem in findings.problems)
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
    paths = Paths(**vars(config.paths))
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
                path=_relative(
                    paths.clip(official.split, official.gloss, official.video_id), Path(paths.data_dir)
                ),
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
) -> tuple[list[Clip], Audit, dict[str, str]]:
    """The clips that stay, flagged; what was found; and what was dropped, with the reason."""
    instances = metadata.instances
    prints = {clip.video_id: (outcome.proofs[clip.video_id].fingerprint, clip.duration_s) for clip in clips}

    def look(clips: Sequence[Clip]) -> Audit:
        return audit(instances, clips, prints, min_per_class=config.audit.min_per_class)

    found = look(clips)
    dropped: dict[str, str] = {}
    if config.audit.leakage == "drop_train":
        for video_id in leaking_train_clips(found.pairs, clips):
            copies = sorted(
                ({pair.first, pair.second} - {video_id}).pop()
                for pair in found.pairs
                if pair.is_leakage and video_id in (pair.first, pair.second)
            )
            dropped[video_id] = (
                f"is the same video as {', '.join(copies)} of val or test (audit.leakage=drop_train)"
            )
        clips = [clip for clip in clips if clip.video_id not in dropped]
        found = dataclasses.replace(look(clips), pairs=found.pairs, dropped=tuple(dropped))
    suspects = [video_id for video_id, one in matches.items() if isinstance(one, Match) and one.doubt]
    return flagged(clips, found.pairs, suspects), found, dropped


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


def _write(findings: RunResult, told: summary.Summary, pictures: Pictures) -> dict[str, Path]:
    """Every file of the run; the manifest last, so that where it is new the others are."""
    folder = Path(findings.config.paths.metadata_dir)
    paths = {
        "errors": folder / "preprocess_errors.csv",
        "audit": folder / "audit.json",
        "summary": folder / "preprocess_summary.json",
        "report": folder / "report.html",
        "manifest": folder / f"{findings.config.dataset.name}_manifest.csv",
    }
    write_problems(paths["errors"], findings.problems)
    atomic_write_text(paths["audit"], json.dumps(findings.audit.as_dict(), indent=1, ensure_ascii=False))
    atomic_write_text(paths["summary"], json.dumps(told, indent=1, ensure_ascii=False))
    write_report(paths["report"], findings, pictures)
    write_manifest(paths["manifest"], findings.clips)
    return paths


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
