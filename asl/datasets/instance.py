"""Instances of signed glosses: the form in which all data sets are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from asl.datasets.names import folder_names
from asl.errors import UserError


class MetadataError(UserError):
    """Metadata that is missing or cannot be used."""


@dataclass(frozen=True, slots=True)
class Box:
    """The signer's box in the picture. The origin is the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float
    unit: Literal["pixels", "shares"] = "pixels"  # of the original; shares of its width and height: 0 to 1
    width: int | None = None  # of the original, in pixels; None: unknown
    height: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One signed gloss: a span of a source video, as the metadata describes it.

    The source is the file at ``path``, or it is found by ``video_id`` and ``url``.
    """

    video_id: str  # unique in the data set, and a file name without blanks
    gloss: str  # any text; its folder is Metadata.folders[gloss]
    split: str  # train, val or test
    url: str = ""
    path: str = ""  # relative to dataset.root, with slashes; "": the source is found by its name
    site: str = ""  # the web site that it comes from
    start_s: Fraction = Fraction(0)  # [start_s, end_s) of the source, from its first frame
    end_s: Fraction | None = None  # None: to the end of the source
    source_fps: float | None = None  # in which the span was counted: a source of another rate is suspect
    box: Box | None = None
    signer_id: str = ""  # the data set's own name of the signer; "": unknown

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
    made_splits: str = ""  # how splits were made that the data set does not have; "": it has them all
    notes: tuple[str, ...] = ()  # what was decided while reading, for the terminal and the summary

    @cached_property
    def folders(self) -> dict[str, str]:
        """The name of each gloss's folder."""
        return folder_names(self.glosses)
