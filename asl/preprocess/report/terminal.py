"""The numbers of a run as tables and sentences on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asl.datasets.instance import Refused
from asl.messages import first_few, listed_lines
from asl.preprocess.audit.audit import Audit
from asl.preprocess.audit.statistics import Coverage, Statistics
from asl.preprocess.clips.frames import FramesOutcome
from asl.preprocess.report.summary import LISTED_GLOSSES
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.url_name_rule import UrlNameErrors

#: Stale files that are named, and refused rows.
LISTED_STALE = 3
LISTED_REFUSED = 5


def print_summary(result: RunResult, console: Console) -> None:
    """Print the tables and sentences."""
    numbers = result.statistics
    _print_coverage(numbers, console)
    _print_missing(numbers, result.metadata.refused, console)
    _print_matching(numbers, result.url_name_errors, console)
    _print_classes(numbers, console)
    _print_audit(result.audit, result.config.audit.min_per_class, console)
    _print_bitstream(numbers, console)
    _print_sizes(numbers, console)
    seconds = sum(result.seconds.values())
    console.print(
        f"{numbers.overall.clips} clips in {seconds:.1f} s: {numbers.copied} copied, {numbers.encoded} "
        f"encoded; {result.cut_results.reused} of these are from an earlier run"
    )
    _print_frames(result.cut_results.frames, console)
    if result.stale:
        listed = escape(first_few(result.stale, LISTED_STALE))
        console.print(
            f"[yellow]{len(result.stale)} files in {escape(result.config.paths.videos_dir)} belong to no "
            f"clip of a data set: {listed}",
            soft_wrap=True,
        )


def _print_coverage(numbers: Statistics, console: Console) -> None:
    def cells(row: Coverage) -> list[str]:
        return [str(row.instances), str(row.matched), str(row.clips)]

    table = Table("split", title="Instances, sources and clips", title_justify="left")
    for name in ("instances", "matched", "clips"):
        table.add_column(name, justify="right")
    for split, row in numbers.by_split.items():
        table.add_row(split, *cells(row))
    table.add_section()
    table.add_row("all", *cells(numbers.overall))
    console.print(table)


def _print_missing(numbers: Statistics, refused: Sequence[Refused], console: Console) -> None:
    if not numbers.reasons:
        return
    table = Table("stage", "reason", title="Instances without a clip", title_justify="left")
    table.add_column("count", justify="right")
    for (stage, reason), count in numbers.reasons.items():
        table.add_row(stage, reason, str(count))
    console.print(table)
    if refused:
        lines = listed_lines((row.error for row in refused), LISTED_REFUSED)
        console.print(f"refused:\n{lines}", style="yellow", soft_wrap=True, markup=False)


def _print_matching(numbers: Statistics, by_url_name: UrlNameErrors, console: Console) -> None:
    table = Table("matched by", title="Matching", title_justify="left")
    table.add_column("instances", justify="right")
    for rule, count in numbers.matched_by.items():
        table.add_row(rule, str(count))
    console.print(table)
    if numbers.suspects:
        console.print(
            f"[yellow]{len(numbers.suspects)} of these are suspect: the file's length, picture size or "
            "frame rate differs from the published one"
        )
    if not by_url_name.rows:
        return
    console.print(
        f"Matching by the last part of the URL alone would match {by_url_name.rows} instances, at least "
        f"{by_url_name.wrong_at_least} of them to another video ({by_url_name.wrong_by_evidence} proven by "
        f"evidence), and {by_url_name.across_splits} to a file that is in several splits."
    )


def _print_classes(numbers: Statistics, console: Console) -> None:
    ranked = [(gloss, coverage.clips) for gloss, coverage in numbers.by_class.items()]
    table = Table(title="Clips per gloss", title_justify="left")
    for name in ("most frequent", "clips", "least frequent", "clips"):
        table.add_column(name, justify="right" if name == "clips" else "left")
    for most, least in zip(ranked[:LISTED_GLOSSES], ranked[::-1][:LISTED_GLOSSES], strict=True):
        table.add_row(escape(most[0]), str(most[1]), escape(least[0]), str(least[1]))
    console.print(table)


def _print_audit(audit: Audit, min_per_class: int, console: Console) -> None:
    table = Table("pairs of instances with", title="Audit", title_justify="left")
    for name in ("pairs", "in two splits", "under two glosses"):
        table.add_column(name, justify="right")
    for kind, row in audit.counts().items():
        table.add_row(kind, str(row["pairs"]), str(row["across_splits"]), str(row["two_glosses"]))
    console.print(table)
    signers = audit.signers["clips"]
    unknown = signers["signer_unknown"]
    console.print(
        f"signers: {signers['signer_in_train']} of {signers['test']} test clips have a signer who is also in "
        f"train; {signers['signer_and_gloss_in_train']} have a signer who performs the same gloss in train"
        + (f"; {unknown} have an unknown signer, who may be in train, too" if unknown else "")
    )
    without = ", ".join(f"{len(glosses)} in {split}" for split, glosses in audit.missing_glosses.items())
    console.print(
        f"glosses with fewer than {min_per_class} training clips: {len(audit.small_classes)}; "
        f"without any clip: {without}"
    )
    if audit.dropped:
        console.print(
            f"{len(audit.dropped)} training clips were dropped because val or test has copies of them"
        )
    if audit.rejected:
        console.print(
            f"{len(audit.rejected)} pairs of clips that resemble each other were not confirmed as copies, "
            "see rejected in the audit file"
        )


def _print_bitstream(numbers: Statistics, console: Console) -> None:
    if numbers.bitstream:
        first = numbers.bitstream[0]
        console.print(
            f"[yellow]{len(numbers.bitstream)} clips have the flag bitstream: the GPU's parser of H.264 "
            f"refuses what the host's strict decoder takes. {escape(first.video_id)}: {escape(first.found)}",
            soft_wrap=True,
        )


def _print_sizes(numbers: Statistics, console: Console) -> None:
    if numbers.class_sizes:
        sizes = numbers.class_sizes
        console.print(f"clips per class: min {sizes.min}, median {sizes.median:g}, max {sizes.max}")
    if numbers.durations:
        durations = numbers.durations
        console.print(
            f"clip duration: mean {durations.mean:.2f} s, median {durations.median:.2f} s, "
            f"5 % below {durations.p5:.2f} s, 5 % above {durations.p95:.2f} s"
        )


def _print_frames(frames: FramesOutcome, console: Console) -> None:
    made = {"on the GPU": frames.gpu, "on the CPU": frames.host, "by an earlier run": frames.there}
    if any(made.values()):
        counts = ", ".join(f"{count} {where}" for where, count in made.items() if count)
        console.print(f"clips with decoded frames for training: {counts}")
    if frames.refused_by_gpu:
        console.print("clips that the GPU left to the CPU:")
    for reason, count in frames.refused_by_gpu.items():
        console.print(f"  {count}: {escape(reason)}", soft_wrap=True)
    if frames.failed:
        video_id, error = next(iter(frames.failed.items()))
        console.print(
            f"[yellow]{len(frames.failed)} clips have no decoded frames; training decodes them from the "
            f"clips. {escape(video_id)}: {escape(error)}",
            soft_wrap=True,
        )
