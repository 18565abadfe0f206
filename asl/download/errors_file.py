"""Instances that could not be downloaded, and why: ``{dataset}_download_errors.csv``."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asl.datasets.instance import Instance
from asl.download.log import DownloadLog
from asl.download.plan import Plan
from asl.files import atomic_write_text


@dataclass(frozen=True, kw_only=True)
class NotDownloaded:
    """A row of the file: an instance whose video could not be downloaded."""

    video_id: str
    url: str
    reason: str  # a short cause, the same for all instances that it concerns
    error: str
    kind: str  # permanent: only retry_permanent=true tries it again; transient
    when: str  # of the last attempt, ISO 8601; empty: there was none
    what_to_do: str
    split: str
    gloss: str


def not_downloaded(plan: Plan, log: DownloadLog) -> Iterator[NotDownloaded]:
    """The instances of a plan whose URL failed last, and those without URL."""
    for fetch in plan.fetches:
        if (failed := log.failure(fetch.url)) is None:
            continue
        when, failure = failed
        for instance in fetch.instances:
            yield NotDownloaded(
                video_id=instance.video_id,
                url=fetch.url,
                reason=failure.reason,
                error=failure.detail,
                kind="permanent" if failure.permanent else "transient",
                when=when,
                what_to_do=failure.advice,
                split=instance.split,
                gloss=instance.gloss,
            )
    for instance in plan.no_url:
        as_what = f"as {instance.path}" if instance.path else "under its video_id"
        yield NotDownloaded(
            video_id=instance.video_id,
            url=instance.url,
            reason="no URL",
            error=_why_not_tried(instance),
            kind="permanent",
            when="",
            what_to_do=f"put the file into dataset.root {as_what}",
            split=instance.split,
            gloss=instance.gloss,
        )


def _why_not_tried(instance: Instance) -> str:
    if instance.path:
        return "the metadata names a file"
    return f"{instance.url!r} is no URL" if instance.url else "the metadata has no URL for it"


def write_not_downloaded(path: Path, rows: Iterable[NotDownloaded]) -> None:
    """Write the CSV file. It is replaced as a whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(NotDownloaded)])
    writer.writerows(dataclasses.astuple(row) for row in rows)
    atomic_write_text(path, text.getvalue())
