"""What every data set is turned into: instances of signed glosses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from asl.errors import UserError

_LONGEST_NAME = 200  # bytes; file systems allow 255, and endings are added


class MetadataError(UserError):
    """Metadata that cannot be used at all."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One signed gloss of a data set, as its metadata describes it."""

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

    video_id: str  # as far as the row has one
    error: str  # names the row


@dataclass(frozen=True)
class Metadata:
    """What the metadata of a data set says.

    ``others`` are instances that are not asked for, of further glosses for example: a raw file may be
    theirs nevertheless. ``published_ends`` are lengths of source files that were published with the data
    set, by video_id, in frames at ``fps``; they help to tell whose a raw file is.
    """

    instances: tuple[Instance, ...]
    glosses: tuple[str, ...]  # in the metadata's own order
    refused: tuple[Refused, ...] = ()
    others: tuple[Instance, ...] = ()
    published_ends: Mapping[str, float] = dataclasses.field(default_factory=dict)
    fps: float = 25.0  # rate in which the metadata counts frames


def name_problem(name: Any) -> str | None:
    """Why ``name`` cannot be the name of one folder or file. None if it can."""
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
