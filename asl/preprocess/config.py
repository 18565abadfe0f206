"""Every key of ``python preprocess.py``, composed of the classes that own them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.contract.paths import Paths
from asl.datasets.base import SignDataset
from asl.launch.settings import JobLauncher, LauncherSettings
from asl.preprocess.audit.settings import AuditSettings
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.pack_frames import StoredFrameSettings
from asl.preprocess.shards.settings import ShardSettings
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
    shard: ShardSettings = field(default_factory=ShardSettings)
    merge: bool = setting(
        False, "join what the shards have cut; an error names those that have to be started"
    )
    verify: str = setting(
        "stamp",
        "a clip of an earlier run is right if stamp: its size and time of change are as recorded; full: its "
        "bytes are, too: finds what a disk changed by itself, but reads every clip",
        choices=["stamp", "full"],
    )
    overwrite: bool = setting(False, "cut every clip again, also those that are there and right")
    strict: bool = setting(False, "exit with 1 if any row was refused or any clip failed")
    probe: int = setting(3, "open this many random clips with decord at the end", ge=0)
    seed: int = setting(0, "of the random choice of probed and shown clips", ge=0)

    def problems(self) -> Iterator[str]:
        """Contradictions between keys."""
        if self.merge and self.shard.index is not None:
            yield f"merge=true, shard.index={self.shard.index}: the merge is a run after those of the shards"
        if self.merge and self.overwrite:
            yield "merge=true, overwrite=true: the merge cuts nothing; give overwrite=true to the shards"
        launched = isinstance(self.launcher, JobLauncher)
        if launched and self.shard.index is not None:
            yield f"shard.index={self.shard.index}: a launcher starts all shards; set shard.count alone"
        if launched and self.shard.count is None and not self.merge:
            yield "launcher: needs shard.count, the number of jobs"
        if not launched and self.shard.count is not None and self.shard.index is None and not self.merge:
            yield (
                f"shard.count={self.shard.count}: needs shard.index, a launcher that starts all shards "
                "(launcher=local), or merge=true after all shards"
            )
