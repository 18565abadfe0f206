"""The configuration of ``python export.py``, composed of the settings of each part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import SPLITS
from asl.contract.paths import Paths
from asl.data.readers.base import ReaderSettings
from asl.data.settings import ManifestSettings
from asl.datasets.base import SignDataset

ONNX, TORCH = "onnx", "torch"
FP16, INT8 = "fp16", "int8"


@dataclass(kw_only=True)
class ExportConfig:
    """All keys of ``python export.py``. Clips are needed for ``quantize`` only."""

    paths: Paths = field(default_factory=Paths)
    dataset: SignDataset = field(default_factory=SignDataset)
    data: ManifestSettings = field(default_factory=ManifestSettings)
    reader: ReaderSettings = field(default_factory=ReaderSettings)
    frames: FrameSettings = field(default_factory=FrameSettings)
    checkpoint: str = setting("${paths.checkpoint_dir}/best.pt", "the checkpoint that is exported")
    formats: list[str] = setting(
        [ONNX, TORCH], "files in fp32: model.onnx, model.pt2", choices=[ONNX, TORCH], any_length=True
    )
    quantize: list[str] = setting(
        [],
        "further ONNX files, as [fp16,int8]; all files are then measured on clips",
        choices=[FP16, INT8],
        any_length=True,
    )
    split: str = setting("val", "with quantize: which clips are measured", choices=SPLITS)
    calibration_clips: int = setting(
        64, "for int8: training clips from which the ranges of activations are taken", ge=1
    )
    metrics: str | None = setting(
        None, "metrics.json of evaluate.py for the model card; null: that of test beside the checkpoint"
    )
    license: str | None = setting(
        None,
        "of the weights, for the model card, as Hugging Face names it: mit, cc-by-4.0; null: not stated",
    )
    output: str | None = setting(None, "folder of the files; null: export beside the checkpoint")

    def problems(self) -> Iterator[str]:
        """Yield a message if there is nothing to export, or nothing to quantize."""
        if not self.formats:
            yield f"formats=[]: name at least one of {ONNX}, {TORCH}"
        elif self.quantize and ONNX not in self.formats:
            yield f"quantize={self.quantize}: needs {ONNX} in formats"
