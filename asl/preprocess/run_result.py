"""The result of one run of preprocessing, from which all its files and tables are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asl.contract.manifest import Clip
from asl.datasets.instance import Metadata
from asl.preprocess.audit.audit import Audit
from asl.preprocess.audit.missing_clips import MissingClip
from asl.preprocess.audit.statistics import Statistics
from asl.preprocess.clips.backend import Choice
from asl.preprocess.clips.cutting import CutResults
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideo
from asl.preprocess.sources.url_name_rule import UrlNameErrors


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One finished run of preprocessing."""

    config: PreprocessConfig
    choice: Choice  # how clips were cut
    capabilities: Capabilities | None  # of this machine; None if not checked
    metadata: Metadata  # with the splits that are used
    raw_files: Sequence[str]  # all videos in the raw folder, relative to it
    raw_videos: Mapping[str, RawVideo]  # those that some instance claims and that can be opened
    matches: Mapping[str, Match | Unmatched]  # by video_id
    cut_results: CutResults
    clips: Sequence[Clip]  # the manifest
    missing: Sequence[MissingClip]  # rows of the metadata without a clip
    audit: Audit
    statistics: Statistics
    url_name_errors: UrlNameErrors  # errors that matching by the last part of the URL would make
    stale: Sequence[str]  # files in the clips' folder that belong to no clip of a data set
    started: str  # local time, ISO 8601
    seconds: Mapping[str, float]  # duration of each step
