"""Instance to the raw file that is its source, or the reason why there is none.

A raw file is *claimed* by every instance whose ``video_id``, YouTube id or URL name it bears. If
all claimants mean the same video (the same URL), it is theirs. If they do not, the name proves
nothing: "apple.mp4" is the name of four different videos of WLASL100, and 10 of its video_ids are
also the URL names of other instances.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from asl.errors import UserError
from asl.preprocess.metadata import Instance

#: File name endings that are taken for videos; the first ones are preferred.
VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv"),
    *(".wmv", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv", ".swf"),
)

#: How a source can be known, the strongest first.
RULES = ("video_id", "youtube_id", "url_name")

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_ID_IN_BRACKETS = re.compile(r"\[([A-Za-z0-9_-]{11})\]$")  # yt-dlp: "Title [id].mp4"


class MatchingError(UserError):
    """A raw folder that cannot be used."""


@dataclass(frozen=True)
class Match:
    """The source of an instance, and how it is known."""

    source: str  # relative to the raw folder
    rule: str  # one of RULES


@dataclass(frozen=True)
class Unmatched:
    """Why an instance has no source."""

    reason: str  # "no file" or "shared name": a few words that can be counted
    detail: str  # what to do about it, in words
    candidates: tuple[str, ...] = ()  # raw files that bear its name
    rivals: tuple[str, ...] = ()  # video_ids of other videos that claim the same files


def scan_raw(raw_dir: Path) -> list[str]:
    """Every video file under the raw folder, as sorted POSIX paths relative to it.

    Raises:
        MatchingError: there is no such folder.
    """
    if not raw_dir.is_dir():
        raise MatchingError(f"{raw_dir}: no such folder (paths.raw_dir). Put the raw videos there")
    return sorted(
        path.relative_to(raw_dir).as_posix()
        for path in raw_dir.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


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


def claims(instances: Sequence[Instance], files: Iterable[str]) -> dict[str, list[tuple[Instance, str]]]:
    """For each raw file, the instances that its name could mean, each with its strongest rule."""
    by_video_id = {instance.video_id: instance for instance in instances}
    by_youtube_id: dict[str, list[Instance]] = defaultdict(list)
    by_url_name: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        found, name = youtube_id(instance.url), url_name(instance.url)
        if found:
            by_youtube_id[found].append(instance)
        elif name:
            by_url_name[name].append(instance)

    claimed: dict[str, list[tuple[Instance, str]]] = {}
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


def match(instances: Sequence[Instance], files: Sequence[str]) -> dict[str, Match | Unmatched]:
    """The source of each instance, by ``video_id``. The order of the input does not matter."""
    owned: dict[str, list[tuple[str, str]]] = defaultdict(list)  # video_id -> (file, rule), sure
    shared: dict[str, list[str]] = defaultdict(list)  # video_id -> files that others claim too
    rivals: dict[str, set[str]] = defaultdict(set)
    for file, claimants in claims(instances, files).items():
        if len({video_key(instance) for instance, _ in claimants}) == 1:
            for instance, rule in claimants:
                owned[instance.video_id].append((file, rule))
            continue
        for instance, _ in claimants:
            shared[instance.video_id].append(file)
            rivals[instance.video_id] |= {
                rival.video_id for rival, _ in claimants if video_key(rival) != video_key(instance)
            }
    return {instance.video_id: _choose(instance, owned, shared, rivals) for instance in instances}


def _choose(
    instance: Instance,
    owned: Mapping[str, list[tuple[str, str]]],
    shared: Mapping[str, list[str]],
    rivals: Mapping[str, set[str]],
) -> Match | Unmatched:
    sure = owned.get(instance.video_id, [])
    for rule in RULES:
        files = sorted((file for file, by in sure if by == rule), key=_preference)
        if len(files) > 1 and rule == "url_name":  # two folders, one name: which one is it?
            return Unmatched(
                "several files of its name",
                f"keep one of {', '.join(files)}, or name it {instance.video_id}.mp4",
                candidates=tuple(files),
            )
        if files:  # several files of one id are the same video in other formats
            return Match(files[0], rule)
    if instance.video_id in shared:
        files = sorted(shared[instance.video_id])
        others = sorted(rivals[instance.video_id])
        return Unmatched(
            "shared name",
            f"{', '.join(files)} could also be another video ({', '.join(others[:5])}"
            f"{', …' if len(others) > 5 else ''}); if it is this one, name it {instance.video_id}.mp4",
            candidates=tuple(files),
            rivals=tuple(others),
        )
    return Unmatched("no file", f"download {instance.url} as {instance.video_id}.mp4")


def _preference(file: str) -> tuple[int, str]:
    return VIDEO_SUFFIXES.index(PurePosixPath(file).suffix.lower()), file
