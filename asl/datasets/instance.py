"""Instances of signed glosses: the form in which all data sets are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from asl.errors import UserError

_LONGEST_NAME = 200  # bytes; file systems allow 255, and endings are added


class MetadataError(UserError):
    """Metadata that is missing or cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One signed gloss: a span of a source video, as the metadata describes it."""

    video_id: str  # unique in the data set, and a file name
    gloss: str
    split: str  # train, val or test
    url: str
    site: str = ""  # the web site that it comes from
    start_s: Fraction = Fraction(0)  # [start_s, end_s) of the source, from its first frame
    end_s: Fraction | None = None  # None: to the end of the source
    bbox: tuple[int, int, int, int] | None = None  # left, top, right, bottom in pixels of the original
    signer_id: int = -1  # -1: unknown

    @property
    def is_whole(self) -> bool:
        """Whether the instance is its whole source, not a segment of it."""
        return self.start_s == 0 and self.end_s is None


@dataclass(frozen=True)
class Refused:
    """A row of the metadata that is not used, and why."""

    video_id: str  # empty if the row has none
    error: str  # names the row


@dataclass(frozen=True)
class Metadata:
    """The metadata of a data set.

    ``others`` are instances that are left out, such as those of further glosses; a raw file may be theirs.
    ``published_frames`` are the published lengths of source files, by video_id, in frames at ``fps``; they
    help to decide which instance a raw file belongs to.
    """

    instances: tuple[Instance, ...]
    glosses: tuple[str, ...]  # in the metadata's own order
    refused: tuple[Refused, ...] = ()
    others: tuple[Instance, ...] = ()
    published_frames: Mapping[str, float] = dataclasses.field(default_factory=dict)
    fps: float = 25.0  # rate at which the metadata counts frames


def name_problem(name: Any) -> str | None:
    """Why ``name`` cannot be the name of a single folder or file. None if it can."""
    if not isinstance(name, str) or not name:
        return "is not a text"
    if name.startswith("."):
        return "starts with a dot"
    if "/" in name or "\\" in name:
        return "holds a path separator"
    if not name.isprintable():
        return "holds control characters"
    if name != name.strip():
        return "starts or ends with white space"
    if len(name.encode()) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    return None
