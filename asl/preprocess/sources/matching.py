"""Instance to the raw file that is its source and how that is known, or why there is none.

A raw file is *claimed* by every instance whose ``video_id``, YouTube id or URL name it bears. If
all claimants mean the same video (the same URL), it is theirs. If they do not, the name proves
nothing: "apple.mp4" is the name of four different videos of WLASL100, and 10 of its video_ids are
also the URL names of other instances. Then the file's length must tell whose it is, or nobody gets
it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from asl.datasets.instance import Instance
from asl.messages import first_few
from asl.preprocess.sources.evidence import Verdict, box_verdict, doubt, length_verdict
from asl.preprocess.sources.raw_files import VIDEO_SUFFIXES, RawVideo

#: How a source can be known, the strongest first.
RULES = ("video_id", "youtube_id", "url_name", "evidence")

Claim = tuple[Instance, str]  # and the rule by which a file's name fits it

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_ID_IN_BRACKETS = re.compile(r"\[([A-Za-z0-9_-]{11})\]$")  # yt-dlp: "Title [id].mp4"


@dataclass(frozen=True)
class Match:
    """The source of an instance, and how it is known."""

    source: str  # relative to the raw folder
    rule: str  # one of RULES
    doubt: str | None = None  # what speaks against it nevertheless


@dataclass(frozen=True)
class Unmatched:
    """Why an instance has no source."""

    reason: str  # a short cause, the same for all clips that it concerns: reports count by it
    detail: str  # what to do about it, in words
    candidates: tuple[str, ...] = ()  # raw files that bear its name
    rivals: tuple[str, ...] = ()  # video_ids of other videos that claim the same files


@dataclass(frozen=True)
class Evidence:
    """What is known of files and instances besides names. All of it may be missing."""

    raw_videos: Mapping[str, RawVideo] = field(default_factory=dict)  # by file
    published_ends: Mapping[str, float] = field(default_factory=dict)  # by video_id, in frames at fps
    fps: float = 25.0

    def length(self, instance: Instance, file: str) -> Verdict:
        """Whether the file is as long as the instance's own; UNKNOWN for segments of a longer file."""
        raw = self.raw_videos.get(file)
        if raw is None or instance.end_s is not None:
            return Verdict.UNKNOWN
        return length_verdict(self.published_ends.get(instance.video_id), raw.duration_s, self.fps)

    def box(self, instance: Instance, file: str) -> Verdict:
        """Whether the instance's box fits into the file's picture."""
        raw = self.raw_videos.get(file)
        return Verdict.UNKNOWN if raw is None else box_verdict(instance.bbox, raw.width, raw.height)

    def doubt(self, instance: Instance, file: str) -> str | None:
        """What speaks against a file that only this instance can have meant."""
        end = self.published_ends.get(instance.video_id)
        return doubt(instance, self.raw_videos.get(file), end, self.fps)


def youtube_id(url: str) -> str | None:
    """The 11-character id of a YouTube URL; ids are case-sensitive.

    >>> youtube_id("https://www.youtube.com/watch?v=0UzEF7ru0sQ&t=3")
    '0UzEF7ru0sQ'
    >>> youtube_id("https://youtu.be/0UzEF7ru0sQ")
    '0UzEF7ru0sQ'
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.").removeprefix("m.")
    if host == "youtu.be":
        found = parts.path.strip("/")
    elif host in ("youtube.com", "youtube-nocookie.com"):
        first, _, rest = parts.path.strip("/").partition("/")
        in_path = first in ("embed", "v", "shorts")
        found = rest.split("/")[0] if in_path else parse_qs(parts.query).get("v", [""])[0]
    else:
        return None
    return found if _YOUTUBE_ID.fullmatch(found) else None


def folded(name: str) -> str:
    """A file name as it is compared: percent-encoding undone, composed, without case.

    >>> folded("SignSchool%20Book.MP4")
    'signschool book.mp4'
    """
    return unicodedata.normalize("NFC", unquote(name)).casefold()


def url_name(url: str) -> str | None:
    """The last part of a URL's path, folded, if it is a video's name; None for YouTube."""
    name = folded(PurePosixPath(urlsplit(url).path).name)
    return name if PurePosixPath(name).suffix in VIDEO_SUFFIXES else None


def video_key(instance: Instance) -> str:
    """The same for two instances exactly if their URLs mean the same video."""
    found = youtube_id(instance.url)
    return f"youtube:{found}" if found else instance.url


def claims(instances: Sequence[Instance], files: Iterable[str]) -> dict[str, list[Claim]]:
    """For each raw file that any instance's name fits, those instances, each with its strongest rule."""
    by_video_id = {instance.video_id: instance for instance in instances}
    by_youtube_id: dict[str, list[Instance]] = defaultdict(list)
    by_url_name: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        found, name = youtube_id(instance.url), url_name(instance.url)
        if found:
            by_youtube_id[found].append(instance)
        elif name:
            by_url_name[name].append(instance)

    claimed: dict[str, list[Claim]] = {}
    for file in files:
        path = PurePosixPath(file)
        bracketed = _YOUTUBE_ID_IN_BRACKETS.search(path.stem)
        found = bracketed[1] if bracketed else path.stem
        rule_of: dict[Instance, str] = {}
        if path.stem in by_video_id:
            rule_of[by_video_id[path.stem]] = "video_id"
        for instance in by_youtube_id.get(found, ()):
            rule_of.setdefault(instance, "youtube_id")
        for instance in by_url_name.get(folded(path.name), ()):
            rule_of.setdefault(instance, "url_name")
        if rule_of:
            claimed[file] = sorted(rule_of.items(), key=lambda claim: claim[0].video_id)
    return claimed


def match(
    instances: Sequence[Instance],
    claimed: Mapping[str, Sequence[Claim]],
    evidence: Evidence,
    *,
    suspect: str = "keep",
) -> dict[str, Match | Unmatched]:
    """The source of each instance, by ``video_id``. The order of the input does not matter.

    Args:
        instances: those that want a source; rivals may be among the claimants only.
        claimed: see :func:`claims`.
        evidence: decides where names do not, and doubts where they do.
        suspect: ``drop`` leaves out matches that evidence speaks against, ``keep`` flags them.
    """
    owned: dict[str, list[tuple[str, str]]] = defaultdict(list)  # video_id -> (file, rule)
    contested: dict[str, list[str]] = defaultdict(list)  # video_id -> files that others claim too
    rivals: dict[str, set[str]] = defaultdict(set)
    for file, claimants in claimed.items():
        owner, by_evidence = owner_of(file, claimants, evidence)
        for instance, rule in claimants:
            if video_key(instance) == owner:
                owned[instance.video_id].append((file, "evidence" if by_evidence else rule))
            else:
                contested[instance.video_id].append(file)
                others = (other for other, _ in claimants if video_key(other) != video_key(instance))
                rivals[instance.video_id] |= {other.video_id for other in others}
    found: dict[str, Match | Unmatched] = {}
    for instance in instances:
        chosen = _choose(instance, owned[instance.video_id], evidence)
        if isinstance(chosen, Match) and chosen.doubt and suspect == "drop":
            chosen = Unmatched("suspect", f"{chosen.source} {chosen.doubt}", candidates=(chosen.source,))
        if chosen is None and contested[instance.video_id]:
            chosen = _contested(instance, contested[instance.video_id], rivals[instance.video_id])
        found[instance.video_id] = chosen or Unmatched(
            "no file", f"download {instance.url} as {instance.video_id}.mp4"
        )
    return found


def owner_of(file: str, claimants: Sequence[Claim], evidence: Evidence) -> tuple[str | None, bool]:
    """Which video a file is (see :func:`video_key`), and whether evidence had to tell.

    A contested file goes to a video only if its length is that video's own and every other one is ruled
    out: by the length, or because its signer's box cannot lie in this picture while the owner's does.
    Otherwise it goes to nobody, which is None.
    """
    videos: dict[str, list[Instance]] = defaultdict(list)
    for instance, _ in claimants:
        videos[video_key(instance)].append(instance)
    if len(videos) == 1:
        return next(iter(videos)), False

    lengths = {key: {evidence.length(one, file) for one in members} for key, members in videos.items()}
    possible = [key for key, verdicts in lengths.items() if verdicts != {Verdict.FOREIGN}]
    if len(possible) > 1:
        boxes = {key: {evidence.box(one, file) for one in videos[key]} for key in possible}
        if any(verdicts == {Verdict.OWN} for verdicts in boxes.values()):
            possible = [key for key in possible if boxes[key] != {Verdict.FOREIGN}]
    if len(possible) == 1 and Verdict.OWN in lengths[possible[0]]:
        return possible[0], True
    return None, True


def _choose(
    instance: Instance, owned: Sequence[tuple[str, str]], evidence: Evidence
) -> Match | Unmatched | None:
    """The best of the files that are this instance's video; one without a doubt before one with."""
    doubted: Match | None = None
    for rule in RULES:
        files = sorted((file for file, by in owned if by == rule), key=_preference)
        if len(files) > 1 and rule == "url_name":  # two folders, one name: which one is it?
            own = [file for file in files if evidence.length(instance, file) is Verdict.OWN]
            others = [file for file in files if evidence.length(instance, file) is not Verdict.FOREIGN]
            if len(own) != 1 or own != others:
                return doubted or Unmatched(
                    "several files of its name",
                    f"keep one of {', '.join(files)}, or name it {instance.video_id}.mp4",
                    candidates=tuple(files),
                )
            files = own
        for file in files:  # several files of one id are the same video in other formats
            against = evidence.doubt(instance, file)
            if against is None:
                return Match(file, rule)
            doubted = doubted or Match(file, rule, against)
    return doubted


def _contested(instance: Instance, files: Sequence[str], rivals: set[str]) -> Unmatched:
    others = sorted(rivals)
    return Unmatched(
        "shared name",
        f"{', '.join(sorted(files))} is or could be another video ({first_few(others)}); if you know "
        f"it to be this one, name it {instance.video_id}.mp4",
        candidates=tuple(sorted(files)),
        rivals=tuple(others),
    )


def _preference(file: str) -> tuple[int, str]:
    return VIDEO_SUFFIXES.index(PurePosixPath(file).suffix.lower()), file


# ---------------------------------------------------------------- the usual rule, for comparison


def match_by_url_name(instances: Iterable[Instance], files: Iterable[str]) -> dict[str, Match | Unmatched]:
    """The usual scripts' rule: the lower-cased last part of the URL is the file's name. Unsafe."""
    file_of: dict[str, str] = {}
    for file in sorted(files):
        file_of.setdefault(PurePosixPath(file).name.lower(), file)
    found: dict[str, Match | Unmatched] = {}
    for instance in instances:
        name = instance.url.rsplit("/", 1)[-1].lower()
        found[instance.video_id] = (
            Match(file_of[name], "url_name") if name in file_of else Unmatched("no file", f"no file {name!r}")
        )
    return found


@dataclass(frozen=True)
class UrlNameErrors:
    """What the usual rule does with a raw folder."""

    rows: int  # matched at all
    shared_rows: int  # whose file is also matched to another URL
    wrong_at_least: int  # a file is at most one URL's: its other rows are wrong whichever that is
    wrong_by_evidence: int  # rows whose file the evidence gives to another video, or rules out
    across_splits: int  # rows whose file is put into more than one split


def url_name_errors(
    instances: Sequence[Instance],
    files: Iterable[str],
    claimed: Mapping[str, Sequence[Claim]],
    evidence: Evidence,
) -> UrlNameErrors:
    """Count what :func:`match_by_url_name` gets wrong."""
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
            evidence.length(row, file) is Verdict.FOREIGN or (owner is not None and video_key(row) != owner)
            for row in rows
        )
    total = sum(map(len, rows_of.values()))
    return UrlNameErrors(total, shared, wrong_at_least, wrong_by_evidence, across)
