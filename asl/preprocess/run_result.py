"""All that a run found out, for the files and tables that tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asl.config import PreprocessConfig
from asl.contract.manifest import Clip
from asl.datasets.instance import Metadata
from asl.preprocess.audit.audit import Audit
from asl.preprocess.audit.problems import Problem
from asl.preprocess.clips.backend import Choice
from asl.preprocess.clips.cutting import CutResults
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideo
from asl.preprocess.sources.url_name_rule import UrlNameErrors


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One finished run of preprocessing."""

    config: PreprocessConfig
    choice: Choice  # how clips were cut
    capabilities: Capabilities | None  # of this machine; None: nobody looked
    metadata: Metadata  # with the splits that are used
    raw_files: Sequence[str]  # all videos in the raw folder, relative to it
    raw_videos: Mapping[str, RawVideo]  # of those that some instance's name fits and that open
    matches: Mapping[str, Match | Unmatched]  # by video_id
    outcome: CutResults
    clips: Sequence[Clip]  # the manifest
    problems: Sequence[Problem]
    audit: Audit
    url_name_errors: UrlNameErrors  # what the usual rule would have got wrong
    stale: Sequence[str]  # files in the clips' folder that this run does not vouch for
    started: str  # local time, ISO 8601
    seconds: dict[str, float]  # how long each step took
