"""Names of all files and folders that asl writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from asl.config.setting import setting
from asl.contract.manifest import MANIFEST

#: Between the name of a data set and the number of shards, in the names of folders.
SHARDS = "_shards_of_"


@dataclass(kw_only=True)
class Paths:
    """Folders, relative to the working directory, and the files in them."""

    data_dir: str = setting("data", "paths in the manifest are relative to this folder")
    raw_dir: str = setting("${paths.data_dir}/raw", "raw videos as downloaded, searched recursively")
    videos_dir: str = setting("${paths.data_dir}/videos", "cut clips: {split}/{gloss}/{video_id}.mp4")
    frames_dir: str = setting("${paths.data_dir}/frames", "decoded frames of the clips, for training")
    metadata_dir: str = setting("${paths.data_dir}/metadata", "metadata, label map, manifest and reports")
    checkpoint_dir: str = setting("checkpoints", "last.pt, best.pt, metrics.json and training logs")

    @classmethod
    def below(cls, data_dir: Path | str) -> Paths:
        """The default folders below ``data_dir``."""
        node = OmegaConf.create({"paths": OmegaConf.structured(cls(data_dir=str(data_dir)))})
        paths: Paths = OmegaConf.to_object(node.paths)  # type: ignore[assignment]
        return paths

    def clip(self, split: str, folder: str, video_id: str) -> Path:
        """A clip. ``split`` is the official one, even if training uses another; ``folder`` is its gloss's."""
        return Path(self.videos_dir, split, folder) / f"{video_id}.mp4"

    def thumbnails(self, video_id: str) -> Path:
        """Three frames of a clip in one JPEG file, for the report."""
        return Path(self.metadata_dir, "strips") / f"{video_id}.jpg"

    def manifest(self, dataset: str) -> Path:
        """The manifest of a data set, by its name."""
        return Path(self.metadata_dir) / f"{dataset}{MANIFEST}"

    def label_map(self, dataset: str) -> Path:
        """The label map of a data set, by its name."""
        return Path(self.metadata_dir) / f"{dataset}_label_map.json"

    @property
    def download_log(self) -> Path:
        """What happened to each URL."""
        return Path(self.metadata_dir) / "downloads.jsonl"

    def download_errors(self, dataset: str) -> Path:
        """Instances of a data set that could not be downloaded, with the reason."""
        return Path(self.metadata_dir) / f"{dataset}_download_errors.csv"

    @property
    def proof_log(self) -> Path:
        """Proofs of finished clips."""
        return Path(self.metadata_dir) / "clip_proofs.jsonl"

    @property
    def raw_videos(self) -> Path:
        """Cached properties of raw files."""
        return Path(self.metadata_dir) / "raw_videos.json"

    def shards(self, dataset: str, count: int) -> Path:
        """Folder of what ``count`` shards of a data set leave for each other and for the merge."""
        return Path(self.metadata_dir) / f"{dataset}{SHARDS}{count}"

    def errors(self, dataset: str) -> Path:
        """Instances of a data set without a clip, with the reason."""
        return Path(self.metadata_dir) / f"{dataset}_preprocess_errors.csv"

    def audit(self, dataset: str) -> Path:
        """Results of the audit of a data set."""
        return Path(self.metadata_dir) / f"{dataset}_audit.json"

    def summary(self, dataset: str) -> Path:
        """Numbers of the last run on a data set."""
        return Path(self.metadata_dir) / f"{dataset}_preprocess_summary.json"

    def report(self, dataset: str) -> Path:
        """The HTML report on a data set."""
        return Path(self.metadata_dir) / f"{dataset}_report.html"
