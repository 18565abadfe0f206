"""The type, default and range of every key in ``conf/``.

Each group of ``conf/`` is one dataclass; the YAML files set only what makes their choice differ.
Hydra refuses a mistyped key or a wrong type while it composes; :func:`checked` refuses a value
out of range before any work. Both name key, value and what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from asl.config.setting import setting
from asl.preprocess.clips.backend import TrimSettings as TrimConfig

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
class MatchingConfig:
    """Which raw file is an instance's source."""

    policy: str = setting(
        "evidence",
        "evidence: never a file that may be another video; url_name: the usual unsafe rule, to compare",
        choices=["evidence", "url_name"],
    )
    suspect: str = setting(
        "keep",
        "a file that its length or size speaks against, though its name is nobody else's: keep or drop",
        choices=["keep", "drop"],
    )
    end_tolerance_s: float | None = setting(
        None, "a segment may reach this far past its source's end; null: one frame of dataset.fps", ge=0
    )


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


# ---------------------------------------------------------------- train.py


@dataclass
class ReaderConfig:
    """How frames reach training."""

    name: str = setting(
        "frames",
        "frames: decode each clip once and keep its frames (see frames); decord: whenever it is drawn",
        choices=["frames", "decord"],
    )
    placement: str = setting(
        "auto",
        "reader=frames: all in the device's memory, or read from the host's disk; auto: device if they fit",
        choices=["auto", "device", "host"],
    )
    timeout_s: float = setting(
        300.0, "a batch, or a clip decoded before, that takes longer stops the run", gt=0
    )


@dataclass
class DataConfig:
    """From the manifest to batches."""

    manifest: str = setting("${paths.metadata_dir}/${dataset.name}_manifest.csv", "written by preprocess.py")
    fps: float | None = setting(25.0, "time grid on which frames are drawn; null: native frames", gt=0)
    clip_len: int = setting(32, "frames a clip", ge=1)
    frame_stride: int = setting(2, "grid frames from one drawn frame to the next", ge=1)
    pad: str = setting(
        "edge", "shorter clips: repeat the last frame, or start over", choices=["edge", "loop"]
    )
    long: str = setting(
        "uniform",
        "longer clips: spread over the whole clip, or one window of clip_len x frame_stride",
        choices=["uniform", "window"],
    )
    resize: list[int] = setting([128, 171], "height, width to which the reader scales frames", ge=8)
    crop_size: int = setting(112, "height and width of what the model sees", ge=8)
    balance: bool = setting(True, "draw training clips with weight 1 / class frequency")
    batch_size: int = setting(16, "clips a step and device", ge=1)
    num_workers: int | None = setting(
        None, "reader processes, where any are needed; null: one a core, at most 16", ge=0
    )


@dataclass
class AugmentConfig:
    """Training-time augmentation, on the device. A flip swaps the signer's hands: off unless asked for."""

    hflip: bool = setting(False, "mirror half of the clips")
    scale: list[float] = setting([0.6, 1.0], "area of the random crop, as a share of the picture", gt=0, le=1)
    ratio: list[float] = setting([0.75, 1.3333], "aspect ratio of the random crop", gt=0)
    brightness: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    contrast: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    saturation: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    rotation: float = setting(0.0, "degrees by which clips are turned at most, to either side", ge=0, le=45)
    speed: list[float] = setting([0.9, 1.1], "how fast the sign is seen: least and most", ge=0.5, le=2)
    mixup: float = setting(0.0, "alpha of mixup, which blends two clips and their labels; 0: off", ge=0)


@dataclass
class LossConfig:
    """What is minimised."""

    name: str = setting("cross_entropy", "which loss", choices=["cross_entropy", "focal"])
    label_smoothing: float = setting(0.1, "share of the target spread over all classes", ge=0, lt=1)
    gamma: float = setting(2.0, "focal loss only: how strongly easy clips are turned down", ge=0)


@dataclass
class ModelConfig:
    """A video ResNet of torchvision's family (Tran et al., CVPR 2018)."""

    name: str = setting("r2plus1d", "which network", choices=["r2plus1d", "r3d", "mc3"])
    weights: str | None = setting("kinetics400", "kinetics400, null (random), or a weights file")
    width: int = setting(64, "planes of the first stage, doubled in each later one", ge=1)
    layers: list[int] = setting(
        [2, 2, 2, 2], "residual blocks a stage, two to four stages", any_length=True, ge=1
    )
    dropout: float = setting(0.0, "before the classifier", ge=0, lt=1)
    pad_planes: int = setting(
        8, "GPUs only: planes inside a (2+1)D convolution are rounded up to a multiple of this; 1: off", ge=1
    )
    channels_last: bool = setting(True, "channels innermost in memory, which GPUs and CPUs are quicker with")


@dataclass
class OptimConfig:
    """AdamW, linear warm-up, cosine to zero."""

    lr: float = setting(3e-4, "peak learning rate", gt=0)
    weight_decay: float = setting(0.01, "AdamW weight decay; biases and norms are left out", ge=0)
    warmup_epochs: float = setting(2.0, "epochs of linear warm-up", ge=0)
    fused: bool = setting(True, "GPUs only: all parameters in one kernel; not with 16-mixed")


@dataclass
class TrainerConfig:
    """Where and how long; names are Lightning's."""

    accelerator: str = setting("auto", "where to train", choices=["auto", "cpu", "gpu"])
    devices: str = setting("auto", "how many devices, or auto")
    strategy: str = setting("auto", "Lightning strategy", choices=["auto", "ddp"])
    precision: str = setting(
        "auto",
        "auto: bf16-mixed on a GPU that has it, 16-mixed on other GPUs, 32-true on CPUs",
        choices=["auto", "32-true", "16-mixed", "bf16-mixed"],
    )
    compile: str = setting(
        "auto",
        "torch.compile for training steps; auto: on GPUs, if it works there (in YAML write 'off' in quotes)",
        choices=["auto", "on", "off"],
    )
    max_epochs: int = setting(60, "epochs in all, resumed ones included", ge=1)
    gradient_clip_val: float = setting(1.0, "norm at which gradients are clipped; 0: never", ge=0)
    accumulate_grad_batches: int = setting(1, "batches an optimiser step", ge=1)
    log_every_n_steps: int = setting(
        50, "steps from one logged training loss to the next; each waits for the GPU", ge=1
    )
    progress_bar: bool = setting(True, "show a progress bar")


@dataclass
class LoggerConfig:
    """Which logs are written under ``{paths.checkpoint_dir}/logs``."""

    tensorboard: bool = setting(False, "TensorBoard event files")
    csv: bool = setting(False, "metrics.csv")


@dataclass
class TrainConfig:
    """Every key of ``python train.py``."""

    paths: PathsConfig = field(default_factory=PathsConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    resume: str | None = setting(None, "a checkpoint file to go on from; auto: last.pt if it is there")
    seed: int = setting(0, "of weights, sampling and augmentation", ge=0)


def register() -> None:
    """Make the schemas known to Hydra, under the names that ``conf/*.yaml`` start from."""
    store: Any = ConfigStore.instance()
    store.store(name="preprocess_schema", node=PreprocessConfig)
    store.store(name="train_schema", node=TrainConfig)
