"""The usual rule, "last part of the URL = file name", for comparison, and how often it is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from asl.datasets.instance import Instance
from asl.preprocess.sources.evidence import Evidence, Verdict
from asl.preprocess.sources.matching import Match, Unmatched, owner_of
from asl.preprocess.sources.names import Claim, video_key


@dataclass(frozen=True)
class UrlNameErrors:
    """How the usual rule does on a raw folder, in rows of metadata."""

    rows: int  # matched at all
    shared_rows: int  # whose file is also matched to another URL
    wrong_at_least: int  # a file is one URL's at most: the rows of its other URLs are wrong
    wrong_by_evidence: int  # whose file the evidence gives to another video, or rules out
    across_splits: int  # whose file is matched in more than one split


def match_by_url_name(instances: Iterable[Instance], files: Iterable[str]) -> dict[str, Match | Unmatched]:
    """The source of each instance by the usual rule: the lower-cased last part of its URL. Unsafe.

    Instances whose source is given by its path are left out.
    """
    file_of: dict[str, str] = {}
    for file in sorted(files):
        file_of.setdefault(PurePosixPath(file).name.lower(), file)
    found: dict[str, Match | Unmatched] = {}
    for instance in instances:
        if instance.path:
            continue
        name = instance.url.rsplit("/", 1)[-1].lower()
        found[instance.video_id] = (
            Match(file_of[name], "url_name") if name in file_of else Unmatched("no file", f"no file {name!r}")
        )
    return found


def url_name_errors(
    instances: Sequence[Instance],
    files: Iterable[str],
    claimed: Mapping[str, Sequence[Claim]],
    evidence: Evidence,
) -> UrlNameErrors:
    """Count the errors of :func:`match_by_url_name`.

    Args:
        instances: see :func:`~asl.preprocess.sources.matching.match`, as the last two.
        files: all raw files, relative to the raw folder.
        claimed: the claims by file.
        evidence: gives files to videos, and rules videos out.
    """
    rows_of: dict[str, list[Instance]] = defaultdict(list)
    instance_of = {instance.video_id: instance for instance in instances}
    for video_id, found in match_by_url_name(instances, files).items():
        if isinstance(found, Match):
            rows_of[found.source].append(instance_of[video_id])
    shared = wrong_at_least = wrong_by_evidence = across = 0
    for file, rows in rows_of.items():
        times = Counter(video_key(row) for row in rows)
        if len(times) > 1:
            shared += len(rows)
            wrong_at_least += len(rows) - max(times.values())
        across += len(rows) if len({row.split for row in rows}) > 1 else 0
        owner, _ = owner_of(file, claimed[file], evidence) if file in claimed else (None, False)
        wrong_by_evidence += sum(
            evidence.length(row, file) is Verdict.RULED_OUT or (owner is not None and video_key(row) != owner)
            for row in rows
        )
    total = sum(map(len, rows_of.values()))
    return UrlNameErrors(total, shared, wrong_at_least, wrong_by_evidence, across)
