"""Every key of ``python preprocess.py``, composed of the classes that own them."""

from __future__ import annotations

from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.contract.paths import Paths
from asl.datasets.base import SignDataset
from asl.launch.settings import LauncherSettings
from asl.preprocess.audit.settings import AuditSettings
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.pack_frames import StoredFrameSettings
from asl.preprocess.sources.settings import MatchingSettings


@dataclass(kw_only=True)
class PreprocessConfig:
    """Every key of ``python preprocess.py``."""

    paths: Paths = field(default_factory=Paths)
    dataset: SignDataset = field(default_factory=SignDataset)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    trim: TrimSettings = field(default_factory=TrimSettings)
    frames: StoredFrameSettings = field(default_factory=StoredFrameSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    launcher: LauncherSettings = field(default_factory=LauncherSettings)
    overwrite: bool = setting(False, "cut every clip again, also those that are there and right")
    strict: bool = setting(False, "exit with 1 if any row was refused or any clip failed")
    probe: int = setting(3, "open this many random clips with decord at the end", ge=0)
    seed: int = setting(0, "of the random choice of probed and shown clips", ge=0)
