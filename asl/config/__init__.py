"""The type, default and range of every key in ``conf/``.

Each group of ``conf/`` is one dataclass; the YAML files set only what makes their choice differ.
Hydra refuses a mistyped key or a wrong type while it composes; :func:`checked` refuses a value
out of range before any work. Both name key, value and what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.preprocess.sources.settings import MatchingSettings as MatchingConfig

# ---------------------------------------------------------------- both programs


@dataclass
class PathsConfig:
    """Where things lie, relative to the working directory."""

    data_dir: str = setting("data", "paths in the manifest are relative to this folder")
    raw_dir: str = setting("${paths.data_dir}/raw", "raw videos as downloaded, searched recursively")
    videos_dir: str = setting("${paths.data_dir}/videos", "cut clips: {split}/{gloss}/{video_id}.mp4")
    frames_dir: str = setting("${paths.data_dir}/frames", "decoded frames of the clips, for training")
    metadata_dir: str = setting("${paths.data_dir}/metadata", "metadata, label map, manifest and reports")
    checkpoint_dir: str = setting("checkpoints", "last.pt, best.pt, metrics.json and training logs")


@dataclass
class DatasetConfig:
    """Which data."""

    name: str = setting("wlasl100", "prefix of the label map's and the manifest's file names")
    metadata: str = setting("${paths.metadata_dir}/WLASL100_flat.json", "WLASL JSON, flat or nested")
    num_glosses: int | None = setting(None, "keep the first N glosses of the metadata; null: all", ge=1)
    fps: float = setting(25.0, "frame rate in which the metadata counts frames", gt=0)
    lengths: str | None = setting(
        "auto",
        "the authors' nslt_*.json, whose lengths prove whose a raw file is; auto: nslt_{num_glosses}.json "
        "beside the metadata if it is there; null: do without",
    )
    split: str = setting(
        "official",
        "official: the metadata's own; signer: folds in which no signer is in two splits",
        choices=["official", "signer"],
    )
    folds: int = setting(5, "split=signer: parts; one is test, the next val, the rest train", ge=3)
    fold: int = setting(0, "split=signer: which part is test, from 0", ge=0)
    how_to_get: str = setting("", "shown when the metadata file is missing")


@dataclass
class FramesConfig:
    """Decoded frames that preprocessing keeps for training; both programs need the same settings."""

    enabled: bool = setting(True, "keep them; false: training decodes clips whenever they are drawn")
    fps: float | None = setting(25.0, "time grid of the kept frames; null: native frames", gt=0)
    short_side: int = setting(128, "pixels of the shorter side; smaller pictures stay as they are", ge=16)


# ---------------------------------------------------------------- preprocess.py


@dataclass
class TrimConfig:
    """How clips are cut."""

    name: str = setting(
        "auto",
        "auto: the fastest that works here; cpu: libx264; nvenc: a GPU's decoder and encoder; "
        "dali: a GPU's decoder through NVIDIA DALI",
        choices=["auto", "cpu", "nvenc", "dali"],
    )
    workers: int | None = setting(None, "processes; null: one a core, with nvenc at most 8", ge=1)
    timeout_s: float = setting(120.0, "a clip that takes longer is given up and reported", gt=0)
    crf: int = setting(20, "libx264 quality, lower is better and larger", ge=0, le=51)
    preset: str = setting(
        "ultrafast",
        "libx264 preset; the faster ones make larger clips, not worse ones (benchmarks/README.md)",
        choices=["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"],
    )
    # NVENC takes 0 for "automatic", which is no constant quality at all.
    cq: int = setting(23, "trim=nvenc: constant quality, lower is better and larger", ge=1, le=51)
    audio: bool = setting(False, "keep the sound")


@dataclass
class AuditConfig:
    """What is looked for in the finished data set."""

    leakage: str = setting(
        "report",
        "train clips that are also in val or test: report, or take them out of the manifest",
        choices=["report", "drop_train"],
    )
    min_per_class: int = setting(5, "classes with fewer training clips are reported", ge=0)


@dataclass
class PreprocessConfig:
    """Every key of ``python preprocess.py``."""

    paths: PathsConfig = field(default_factory=PathsConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    trim: TrimConfig = field(default_factory=TrimConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    overwrite: bool = setting(False, "cut every clip again, also those that are there and right")
    strict: bool = setting(False, "exit with 1 if any row was refused or any clip failed")
    probe: int = setting(3, "open this many random clips with decord at the end", ge=0)
    seed: int = setting(0, "of split=signer and of the random choice of probed clips", ge=0)
