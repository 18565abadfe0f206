"""Which raw files bear an instance's name: its video_id, its YouTube id, or the last part of its URL."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from asl.codecs.video_file import VIDEO_SUFFIXES
from asl.datasets.instance import Instance

#: Values of the manifest's column ``match``: how a source can be known, the strongest first. The metadata
#: gives its path, or the name of a file fits an instance by the next three.
RULES = ("path", "video_id", "youtube_id", "url_name", "evidence")

Claim = tuple[Instance, str]  # an instance, and the rule by which the name of a file fits it

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_ID_IN_BRACKETS = re.compile(r"\[([A-Za-z0-9_-]{11})\]$")  # yt-dlp: "Title [id].mp4"


def youtube_id(url: str) -> str | None:
    """The 11-character id of a YouTube URL; ids are case-sensitive. None for other URLs.

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


def normalized_name(name: str) -> str:
    """A file name for comparison: percent-decoded, Unicode-composed (NFC), case-folded.

    >>> normalized_name("SignSchool%20Book.MP4")
    'signschool book.mp4'
    """
    return unicodedata.normalize("NFC", unquote(name)).casefold()


def url_name(url: str) -> str | None:
    """The last part of a URL's path, normalized. None if it has no video suffix, as on YouTube."""
    name = normalized_name(PurePosixPath(urlsplit(url).path).name)
    return name if PurePosixPath(name).suffix in VIDEO_SUFFIXES else None


def video_key(instance: Instance) -> str:
    """A key of an instance's source; equal for two instances exactly if it is the same path or URL."""
    if instance.path:
        return f"path:{source_path(instance)}"
    found = youtube_id(instance.url)
    return f"youtube:{found}" if found else instance.url or f"video_id:{instance.video_id}"


def source_path(instance: Instance) -> str:
    """The path that the metadata gives, normalized, to be compared with :func:`normalized_path` of a file."""
    return normalized_path(posixpath.normpath(instance.path))


def normalized_path(file: str) -> str:
    """A path for comparison: Unicode-composed (NFC), because some systems store names decomposed."""
    return unicodedata.normalize("NFC", file)


def claims(instances: Sequence[Instance], files: Iterable[str]) -> dict[str, list[Claim]]:
    """The instances whose path or name each raw file has, each with its strongest rule, sorted by video_id.

    A file that an instance has by its path is claimed by no other one by its name.

    Args:
        instances: of the data set, also those that are not asked for.
        files: raw files, relative to the raw folder.

    Returns:
        The claims by file; files that no instance claims are left out.
    """
    by_path: dict[str, list[Instance]] = defaultdict(list)
    by_video_id: dict[str, Instance] = {}
    by_youtube_id: dict[str, list[Instance]] = defaultdict(list)
    by_url_name: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        if instance.path:
            by_path[source_path(instance)].append(instance)
            continue
        by_video_id[instance.video_id] = instance
        found, name = youtube_id(instance.url), url_name(instance.url)
        if found:
            by_youtube_id[found].append(instance)
        elif name:
            by_url_name[name].append(instance)

    claimed: dict[str, list[Claim]] = {}
    for file in files:
        named = by_path.get(normalized_path(file))
        if named:
            claimed[file] = [(instance, "path") for instance in sorted(named, key=_video_id)]
            continue
        path = PurePosixPath(file)
        bracketed = _YOUTUBE_ID_IN_BRACKETS.search(path.stem)
        found = bracketed[1] if bracketed else path.stem
        rule_of: dict[Instance, str] = {}
        if path.stem in by_video_id:
            rule_of[by_video_id[path.stem]] = "video_id"
        for instance in by_youtube_id.get(found, ()):
            rule_of.setdefault(instance, "youtube_id")
        for instance in by_url_name.get(normalized_name(path.name), ()):
            rule_of.setdefault(instance, "url_name")
        if rule_of:
            claimed[file] = sorted(rule_of.items(), key=lambda claim: claim[0].video_id)
    return claimed


def _video_id(instance: Instance) -> str:
    return instance.video_id
