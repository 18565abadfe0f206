"""What a run will do, and what it has done, on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from asl.contract.manifest import SPLITS
from asl.datasets.instance import Metadata
from asl.download.errors_file import NotDownloaded
from asl.download.plan import Fetch, Plan, host_of
from asl.download.settings import DownloadSettings
from asl.preprocess.sources.matching import Match, Unmatched
from asl.terminal import print_text

#: Hosts, and glosses, that are named; the others are summed up.
LISTED = 20


def print_plan(
    plan: Plan, wanted: Sequence[Fetch], lost: Sequence[Fetch], settings: DownloadSettings, console: Console
) -> None:
    """Print by host what will be fetched.

    Args:
        plan: of all instances.
        wanted: those of its files that will be fetched.
        lost: those that failed for good in an earlier run and are not tried.
        settings: of downloads.
        console: where to print.
    """
    every = [*plan.there, *(one for fetch in (*plan.fetches, *plan.links) for one in fetch.instances)]
    columns = {
        "instances": Counter(map(host_of, every)),
        "there": Counter(map(host_of, plan.there)),
        "to fetch": Counter(fetch.host for fetch in wanted),
        "lost": Counter(fetch.host for fetch in lost),
    }
    counts, to_fetch = list(columns.values()), columns["to fetch"]
    hosts = sorted(columns["instances"], key=lambda host: (-to_fetch[host], host))
    table = Table("host", title="To download", title_justify="left")
    for name in columns:
        table.add_column(name, justify="right")
    for host in hosts[:LISTED]:
        table.add_row(host or "no URL", *(str(count[host]) for count in counts))
    if rest := hosts[LISTED:]:
        table.add_row(f"{len(rest)} others", *(str(sum(count[host] for host in rest)) for count in counts))
    table.add_section()
    table.add_row("all", *(str(count.total()) for count in counts))
    console.print(table)
    if plan.links:
        linked = sum(len(fetch.names) for fetch in plan.links)
        print_text(console, f"{linked} instances show a video that is there under the name of another one")
    if plan.no_url:
        print_text(console, f"{len(plan.no_url)} instances have neither a file nor a URL")
    if lost:
        print_text(
            console,
            f"{len(lost)} files are lost: they failed for good before, and are tried again only with "
            "download.retry_permanent=true",
        )
    if not settings.youtube:
        left = sum(fetch.youtube_id is not None for fetch in plan.fetches)
        print_text(console, f"{left} files on YouTube are left out (download.youtube=false)")
    at_least_s = max(to_fetch.values(), default=0) * settings.interval_s
    if not wanted:
        print_text(console, "nothing is left to fetch")
    elif at_least_s >= 1:
        print_text(
            console,
            f"this takes at least {_duration(at_least_s)} (download.interval_s={settings.interval_s:g})",
        )


def print_result(
    metadata: Metadata,
    matches: Mapping[str, Match | Unmatched],
    failed: Sequence[NotDownloaded],
    errors: Path,
    console: Console,
) -> None:
    """Print what ``preprocess.py`` will be able to use, and why the rest is missing.

    Args:
        metadata: of the data set.
        matches: the sources that are there now, by video_id.
        failed: the instances that could not be downloaded.
        errors: the file that lists them.
        console: where to print.
    """
    usable = [one for one in metadata.instances if isinstance(matches[one.video_id], Match)]
    if metadata.made_splits:
        print_text(console, metadata.made_splits)
    table = Table("split", title="For preprocess.py", title_justify="left")
    for name in ("instances", "with a file", "glosses", "with a file"):
        table.add_column(name, justify="right")
    for split in (*SPLITS, "all"):
        if split == "all":
            table.add_section()
        counts = []
        for group in (metadata.instances, usable):
            glosses = [one.gloss for one in group if split in (one.split, "all")]
            counts.append((len(glosses), len(set(glosses))))
        table.add_row(split, *(str(counts[of][what]) for what in (0, 1) for of in (0, 1)))
    console.print(table)
    files = Counter(one.gloss for one in usable if one.split == "train")
    fewest = sorted(metadata.glosses, key=lambda gloss: files[gloss])[:LISTED]
    print_text(console, "fewest training files: " + ", ".join(f"{gloss} {files[gloss]}" for gloss in fewest))
    if not failed:
        return
    table = Table("reason", "", title="Instances that could not be downloaded", title_justify="left")
    table.add_column("count", justify="right")
    for (reason, kind), count in Counter((row.reason, row.kind) for row in failed).most_common():
        table.add_row(reason, kind, str(count))
    console.print(table)
    again = sum(row.kind == "transient" for row in failed)
    if again:
        print_text(console, f"the same command tries {again} of them again")
    print_text(console, f"errors    {errors}")


def _duration(seconds: float) -> str:
    """A duration for people.

    >>> _duration(42), _duration(600), _duration(9000)
    ('42 s', '10 minutes', '2.5 hours')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
