"""The files that shards leave in ``{dataset}_shards_of_{count}`` of the metadata folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asl.contract.paths import SHARDS

_PROOF_LOG = ".clip_proofs.jsonl"
_RAW_VIDEOS = ".raw_videos.json"


@dataclass(frozen=True)
class ShardFiles:
    """The files of one shard. No other run writes them; the merge removes the first two."""

    folder: Path  # see Paths.shards
    index: int

    @property
    def proof_log(self) -> Path:
        """Proofs of the clips that it cut."""
        return self.folder / f"{self.index}{_PROOF_LOG}"

    @property
    def raw_videos(self) -> Path:
        """Properties of the raw files that it opened."""
        return self.folder / f"{self.index}{_RAW_VIDEOS}"

    @property
    def record(self) -> Path:
        """See :class:`~asl.preprocess.shards.record.Record`."""
        return self.folder / f"{self.index}.json"


def proof_logs(metadata_dir: Path) -> list[Path]:
    """The logs of all shards of all sets that were not merged yet, the one that ended first first."""
    return _find(metadata_dir, _PROOF_LOG)


def raw_video_caches(metadata_dir: Path) -> list[Path]:
    """Likewise, what they know of raw files."""
    return _find(metadata_dir, _RAW_VIDEOS)


def _find(metadata_dir: Path, suffix: str) -> list[Path]:
    return sorted(
        metadata_dir.glob(f"*{SHARDS}*/*{suffix}"), key=lambda path: (path.stat().st_mtime_ns, path)
    )
