"""What is to be fetched: one file for each video that is not there, and the names it gets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from asl.codecs.video_file import VIDEO_SUFFIXES
from asl.datasets.instance import Instance, Metadata
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.names import claims, video_key, youtube_id

#: Suffixes of a file's name, tried in turn after the URL's own, until matching takes it for one video only.
#: FFmpeg tells containers by their content.
OTHER_SUFFIXES = (".mov", ".m4v")

_WITHOUT_SCHEME = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?/")  # as in MS-ASL: www.youtube.com/watch?v=…


@dataclass(frozen=True)
class Fetch:
    """A video, the instances that it is the source of, and the files that matching needs for them.

    Matching knows a YouTube video by its id, for all its instances; another video needs a file named after
    the video_id of each. It is fetched as the first and linked to the others.
    """

    url: str  # with scheme
    host: str
    youtube_id: str | None  # None: a direct link
    names: tuple[str, ...]  # in the raw folder; of a YouTube video: its id, without suffix
    instances: tuple[Instance, ...]
    source: str | None = None  # a file in the raw folder that is this video: nothing is fetched, only linked


@dataclass(frozen=True)
class Plan:
    """What is there and what is to be fetched."""

    there: tuple[Instance, ...]  # those that matching finds a file for
    fetches: tuple[Fetch, ...]
    links: tuple[Fetch, ...]  # videos that are there under the name of another instance
    no_url: tuple[Instance, ...]  # without URL, or with a path: matching takes no other file for theirs


def plan_downloads(metadata: Metadata, matches: Mapping[str, Match | Unmatched]) -> Plan:
    """Group the instances without a source by video.

    Args:
        metadata: the instances, and others that raw files could be taken for.
        matches: the sources in the raw folder, by video_id.
    """
    there, no_url = [], []
    missing: dict[str, list[Instance]] = defaultdict(list)  # by video
    source_of: dict[str, str] = {}
    for instance in metadata.instances:
        found = matches[instance.video_id]
        if isinstance(found, Match):
            there.append(instance)
            if youtube_id(instance.url) is None:  # that of a YouTube instance may be its segment alone
                source_of[video_key(instance)] = found.source
        elif instance.path or absolute_url(instance.url) is None:
            no_url.append(instance)
        else:
            missing[video_key(instance)].append(instance)

    names = _names([one for group in missing.values() for one in group], metadata)
    fetches: list[Fetch] = []
    links: list[Fetch] = []
    for key, instances in missing.items():
        url = absolute_url(instances[0].url)
        assert url is not None
        found_id = youtube_id(url)
        fetch = Fetch(
            url=f"https://www.youtube.com/watch?v={found_id}" if found_id else url,
            host=host_of(instances[0]),
            youtube_id=found_id,
            names=(found_id,) if found_id else tuple(names[one.video_id] for one in instances),
            instances=tuple(instances),
            source=source_of.get(key),
        )
        (fetches if fetch.source is None else links).append(fetch)
    return Plan(tuple(there), tuple(fetches), tuple(links), tuple(no_url))


def host_of(instance: Instance) -> str:
    """``host:port`` of an instance's URL, one for all of YouTube. Empty if it has no URL."""
    if youtube_id(instance.url):
        return "www.youtube.com"
    return urlsplit(absolute_url(instance.url) or "").netloc.rpartition("@")[2].lower()


def absolute_url(url: str) -> str | None:
    """The URL with its scheme, ``https`` where it has none. None if it is no URL.

    >>> absolute_url("www.youtube.com/watch?v=0UzEF7ru0sQ")
    'https://www.youtube.com/watch?v=0UzEF7ru0sQ'
    """
    url = url.strip()
    if "://" not in url:
        url = f"https://{url}" if _WITHOUT_SCHEME.match(url) else ""
    try:
        return url if urlsplit(url).hostname else None
    except ValueError:  # as of http://[
        return None


def _names(instances: Sequence[Instance], metadata: Metadata) -> dict[str, str]:
    """The name of each instance's own file, by video_id.

    It is the video_id with the URL's suffix. Where this is also the last part of another video's URL,
    matching would not know whose the file is; it then gets another suffix.
    """
    names: dict[str, str] = {}
    left = list(instances)
    for suffix in (None, *OTHER_SUFFIXES):
        tried = {one.video_id: one.video_id + (suffix or _suffix(one.url)) for one in left}
        claimed = claims([*metadata.instances, *metadata.others], tried.values())
        names |= tried
        left = [one for one in left if len({video_key(by) for by, _ in claimed[tried[one.video_id]]}) > 1]
    return names


def _suffix(url: str) -> str:
    """The suffix of a video in the URL's path, otherwise ``.mp4``."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return suffix if suffix in VIDEO_SUFFIXES else ".mp4"
