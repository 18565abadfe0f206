"""``python preprocess.py``: metadata, matching, cutting, manifest, in the order in which data flows."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import io
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asl.config import PreprocessConfig
from asl.errors import UserError
from asl.files import PART, write_beside
from asl.manifest import SPLITS, Clip, write_manifest
from asl.preprocess import summary
from asl.preprocess.decord_probe import probe_with_decord
from asl.preprocess.matching import Match, Unmatched, match, scan_raw
from asl.preprocess.metadata import Instance, Metadata, load_metadata, load_or_make_label_map
from asl.preprocess.proof_log import ProofLog, asked_for
from asl.preprocess.segment import segment_span
from asl.preprocess.trim import Cut, Proof, TrimError, trim
from asl.preprocess.workers import Done, Failed, run_each


class PreprocessError(UserError):
    """A run that could not give a manifest."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why an instance has no clip; one row of ``preprocess_errors.csv``."""

    video_id: str
    error: str
    stage: str  # metadata, match or cut
    reason: str  # a few words that can be counted
    split: str = ""
    gloss: str = ""
    source: str = ""
    start_s: float | None = None
    end_s: float | None = None
    url: str = ""
    rivals: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a run gave for the instances that have a source."""

    proofs: Mapping[str, Proof]  # by video_id
    problems: tuple[Problem, ...]
    reused: int  # clips that were there and right


def preprocess(config: PreprocessConfig) -> None:
    """Do the whole run that ``config`` describes, and tell on the terminal what came of it.

    Raises:
        UserError: nothing could be done at all, or not one clip came out.
        SystemExit: with 1 if ``config.strict`` and a row was refused or a clip failed.
    """
    console = Console()
    started = time.monotonic()
    videos_dir, metadata_dir = Path(config.paths.videos_dir), Path(config.paths.metadata_dir)
    metadata = load_metadata(
        Path(config.dataset.metadata),
        num_glosses=config.dataset.num_glosses,
        fps=config.dataset.fps,
        how_to_get=config.dataset.how_to_get,
    )
    label_of = load_or_make_label_map(
        metadata_dir / f"{config.dataset.name}_label_map.json", metadata.glosses
    )
    files = scan_raw(Path(config.paths.raw_dir))
    matches = match(metadata.instances, files)

    with _only_run(videos_dir):
        _remove_parts(videos_dir)
        cuts = _plan(config, metadata.instances, matches)
        outcome = _cut_all(
            config, cuts, ProofLog(metadata_dir / f"{config.dataset.name}_proofs.jsonl"), console
        )
        problems = [*_unusable(metadata, matches), *_described(outcome.problems, metadata, matches)]
        clips = _clips(config, metadata.instances, matches, label_of, outcome.proofs)
        stale = _stale(videos_dir, clips, Path(config.paths.data_dir))

        manifest = metadata_dir / f"{config.dataset.name}_manifest.csv"
        write_manifest(manifest, clips)
        errors = metadata_dir / "preprocess_errors.csv"
        _write_problems(errors, problems)
        told = summary.summarise(
            config,
            metadata=metadata,
            num_files=len(files),
            matches=matches,
            clips=clips,
            proofs=outcome.proofs,
            reused=outcome.reused,
            problems=[(problem.stage, problem.reason) for problem in problems],
            stale=stale,
            seconds=time.monotonic() - started,
        )
        summary.write(metadata_dir / "preprocess_summary.json", told)

    summary.show(told, console)
    _probe(config, clips, console)
    console.print(
        f"\nmanifest  {manifest}\nerrors    {errors}\nsummary   {metadata_dir}/preprocess_summary.json"
    )
    if not clips:
        raise PreprocessError(
            f"not one clip came out of {len(metadata.instances)} instances and {len(files)} files in "
            f"{config.paths.raw_dir}. {errors} says for each what to do"
        )
    failed = sum(problem.stage != "match" for problem in problems)
    if failed and config.strict:
        console.print(f"strict=true: {failed} rows were refused or failed, see {errors}")
        sys.exit(1)


# ---------------------------------------------------------------- cutting


def _plan(
    config: PreprocessConfig, instances: Iterable[Instance], matches: Mapping[str, Match | Unmatched]
) -> list[Cut]:
    cuts = []
    for instance in instances:
        found = matches[instance.video_id]
        if isinstance(found, Unmatched):
            continue
        start_s, end_s = segment_span(instance.frame_start, instance.frame_end, config.dataset.fps)
        cuts.append(
            Cut(
                video_id=instance.video_id,
                source=Path(config.paths.raw_dir) / found.source,
                target=_target(config, instance),
                start_s=start_s,
                end_s=end_s,
                end_tolerance_s=1 / Fraction(config.dataset.fps).limit_denominator(1001),
                crf=config.trim.crf,
                preset=config.trim.preset,
                audio=config.trim.audio,
            )
        )
    return cuts


def _target(config: PreprocessConfig, instance: Instance) -> Path:
    return Path(config.paths.videos_dir) / instance.split / instance.gloss / f"{instance.video_id}.mp4"


def _cut_all(config: PreprocessConfig, cuts: Sequence[Cut], log: ProofLog, console: Console) -> Outcome:
    proofs: dict[str, Proof] = {}
    to_do: list[Cut] = []
    for cut in cuts:
        proof = None if config.overwrite else log.is_right(cut)
        if proof is None:
            to_do.append(cut)
        else:
            proofs[cut.video_id] = proof
    reused = len(proofs)
    # Before the cut: a source that is replaced while it is being cut must not look like the one proven.
    asked = {cut.video_id: asked_for(cut) for cut in to_do}
    problems = []
    with _progress(console) as progress:
        bar = progress.add_task("cutting", total=len(cuts), completed=reused)
        for ended in run_each(trim, to_do, workers=config.trim.workers, timeout_s=config.trim.timeout_s):
            if isinstance(ended, Done):
                proofs[ended.task.video_id] = ended.result
                log.add(ended.task, asked[ended.task.video_id], ended.result)
            else:
                problems.append(_problem(ended, config))
            progress.advance(bar)
    return Outcome(proofs, tuple(problems), reused)


def _problem(failed: Failed[Cut], config: PreprocessConfig) -> Problem:
    cut, message, reason = failed.task, failed.message, failed.reason
    if isinstance(failed.error, TrimError):
        message, reason = failed.error.message, failed.error.reason
    else:
        message = f"{cut.source.name} {message}"
    if failed.reason == "time limit":
        message += f"; give it more with trim.timeout_s={2 * config.trim.timeout_s:g}"
    return Problem(
        video_id=cut.video_id,
        error=message,
        stage="cut",
        reason=reason,
        start_s=float(cut.start_s),
        end_s=None if cut.end_s is None else float(cut.end_s),
    )


@contextmanager
def _only_run(videos_dir: Path) -> Iterator[None]:
    """Keep a second run out of the same folder; the lock ends with the process, however it ends."""
    videos_dir.mkdir(parents=True, exist_ok=True)
    with (videos_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PreprocessError(
                f"{videos_dir} is being written by another run. Wait for it, or use another paths.videos_dir"
            ) from None
        yield


def _remove_parts(videos_dir: Path) -> None:
    for part in videos_dir.rglob(f".*{PART}.*"):
        part.unlink(missing_ok=True)


# ---------------------------------------------------------------- what came of it


def _unusable(metadata: Metadata, matches: Mapping[str, Match | Unmatched]) -> Iterator[Problem]:
    for row in metadata.refused:
        yield Problem(video_id=row.video_id, error=row.error, stage="metadata", reason="row refused")
    for instance in metadata.instances:
        found = matches[instance.video_id]
        if isinstance(found, Unmatched):
            yield Problem(
                video_id=instance.video_id,
                error=f"{found.reason}: {found.detail}",
                stage="match",
                reason=found.reason,
                split=instance.split,
                gloss=instance.gloss,
                source=" ".join(found.candidates),
                url=instance.url,
                rivals=" ".join(found.rivals),
            )


def _described(
    problems: Iterable[Problem], metadata: Metadata, matches: Mapping[str, Match | Unmatched]
) -> list[Problem]:
    """Problems of cutting with what the metadata knows of them, in a fixed order."""
    instance_of = {instance.video_id: instance for instance in metadata.instances}
    described = []
    for problem in sorted(problems, key=lambda problem: problem.video_id):
        instance, found = instance_of[problem.video_id], matches[problem.video_id]
        described.append(
            dataclasses.replace(
                problem,
                split=instance.split,
                gloss=instance.gloss,
                url=instance.url,
                source=found.source if isinstance(found, Match) else "",
            )
        )
    return described


def _clips(
    config: PreprocessConfig,
    instances: Iterable[Instance],
    matches: Mapping[str, Match | Unmatched],
    label_of: Mapping[str, int],
    proofs: Mapping[str, Proof],
) -> list[Clip]:
    """The manifest's rows, from this run's proofs alone, by split, label and video_id."""
    clips = []
    for instance in instances:
        proof, found = proofs.get(instance.video_id), matches[instance.video_id]
        if proof is None or isinstance(found, Unmatched):
            continue
        clips.append(
            Clip(
                split=instance.split,
                gloss=instance.gloss,
                label=label_of[instance.gloss],
                video_id=instance.video_id,
                path=_relative(_target(config, instance), Path(config.paths.data_dir)),
                num_frames=proof.num_frames,
                fps=round(proof.fps, 6),
                duration_s=round(proof.duration_s, 6),
                width=proof.width,
                height=proof.height,
                signer_id=instance.signer_id,
                source=found.source,
                start_s=round(proof.start_s, 6),
                end_s=round(proof.end_s, 6),
            )
        )
    return sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.label, clip.video_id))


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:  # videos elsewhere
        return path.resolve().as_posix()


def _stale(videos_dir: Path, clips: Iterable[Clip], data_dir: Path) -> list[str]:
    """Files in the clips' folder that this run does not vouch for."""
    owned = {(data_dir / clip.path).resolve() for clip in clips}
    return sorted(
        path.relative_to(videos_dir).as_posix()
        for path in videos_dir.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.resolve() not in owned
    )


def _write_problems(path: Path, problems: Iterable[Problem]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Problem)])
    writer.writerows(dataclasses.astuple(problem) for problem in problems)
    write_beside(path, text.getvalue())


def _probe(config: PreprocessConfig, clips: Sequence[Clip], console: Console) -> None:
    """Open a few random clips with decord, the reader of training, in a process that can be killed."""
    chosen = random.Random(config.seed).sample(list(clips), min(config.probe, len(clips)))
    paths = {str(Path(config.paths.data_dir) / clip.path): clip for clip in chosen}
    for ended in run_each(probe_with_decord, list(paths), workers=1, timeout_s=config.trim.timeout_s):
        clip = paths[ended.task]
        if isinstance(ended, Failed):
            console.print(f"[red]decord cannot read {escape(ended.task)}: {escape(ended.message)}")
            continue
        frames, height, width = ended.result
        expected = (clip.num_frames, clip.height, clip.width)
        verdict = (
            "as the manifest says" if ended.result == expected else f"[red]but the manifest says {expected}"
        )
        console.print(f"decord reads {escape(ended.task)}: {frames} frames, {width}x{height}, {verdict}")


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
