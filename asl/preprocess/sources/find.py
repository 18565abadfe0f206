"""Find the raw file that is the source of each instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from asl.contract.paths import Paths
from asl.datasets.instance import Metadata
from asl.preprocess.sources.evidence import Evidence
from asl.preprocess.sources.matching import Match, Unmatched, match
from asl.preprocess.sources.names import claims, normalized_path, source_path
from asl.preprocess.sources.raw_files import RawVideo, RawVideoCache, scan_raw
from asl.preprocess.sources.settings import MatchingSettings
from asl.preprocess.sources.url_name_rule import UrlNameErrors, match_by_url_name, url_name_errors
from asl.workers import Workers


@dataclass(frozen=True)
class Sources:
    """The raw files, and which of them belongs to which instance."""

    files: Sequence[str]  # all videos in the raw folder and all sources that have a path, relative to it
    raw_videos: Mapping[str, RawVideo]  # by file: those that some instance claims and that can be opened
    matches: Mapping[str, Match | Unmatched]  # by video_id
    url_name_errors: UrlNameErrors  # errors that matching by the last part of the URL would make


def find_sources(
    metadata: Metadata,
    raw_dir: Path,
    paths: Paths,
    settings: MatchingSettings,
    workers: Workers,
    progress: Progress,
    *,
    cache: RawVideoCache,
    shard: tuple[int, int] = (0, 1),
    timeout_s: float,
) -> Sources:
    """Scan the raw folder, open the files that instances claim by their names, and match them.

    Args:
        metadata: the instances.
        raw_dir: the raw folder, ``dataset.root``.
        paths: where clips are.
        settings: which rule matches.
        workers: processes that open files.
        progress: shows a bar.
        cache: what is known of raw files.
        shard: see :meth:`RawVideoCache.probe`.
        timeout_s: time limit for opening one file.

    Raises:
        RawFolderError: there is no raw folder.
    """
    files = scan_raw(raw_dir, Path(paths.videos_dir))
    given = {source_path(one) for one in metadata.instances if one.path}
    given.difference_update(map(normalized_path, files))
    files = sorted([*files, *(path for path in given if (raw_dir / path).is_file())])
    claimed = claims([*metadata.instances, *metadata.others], files)
    bar = progress.add_task("opening raw videos", total=len(claimed))
    raw_videos = cache.probe(
        list(claimed), workers, shard=shard, timeout_s=timeout_s, on_done=lambda: progress.advance(bar)
    )
    evidence = Evidence(raw_videos, metadata.published_frames, metadata.fps)
    if settings.policy == "url_name":
        by_path = [one for one in metadata.instances if one.path]
        matches = match(by_path, claimed, evidence) | match_by_url_name(metadata.instances, files)
    else:
        matches = match(metadata.instances, claimed, evidence, suspect=settings.suspect)
    errors = url_name_errors(metadata.instances, files, claimed, evidence)
    return Sources(files, raw_videos, matches, errors)
