"""asl: raw sign-language videos and WLASL metadata in, a trained and honestly measured recogniser out.

For notebooks::

    import asl
    import pytorch_lightning as pl
    from asl import ClipDataModule

    data = ClipDataModule("data/metadata/wlasl100_manifest.csv")
    pl.Trainer(max_epochs=10).fit(model, data)  # model: your LightningModule

    asl.load("checkpoints/best.pt").predict("clip.mp4")  # the most probable glosses
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asl.contract.frame_store import FrameSettings
    from asl.contract.label_map import read_label_map
    from asl.contract.manifest import Clip, read_manifest
    from asl.data.augmentation import Augmentation
    from asl.data.datamodule import ClipDataModule
    from asl.data.settings import DataSettings
    from asl.inference.prediction import Failure, Prediction
    from asl.inference.predictor import Predictor, load
    from asl.training.checkpoints import read_checkpoint, restore_network

__version__ = "0.1.0"

__all__ = [
    "Augmentation",
    "Clip",
    "ClipDataModule",
    "DataSettings",
    "Failure",
    "FrameSettings",
    "Prediction",
    "Predictor",
    "load",
    "read_checkpoint",
    "read_label_map",
    "read_manifest",
    "restore_network",
]

_MODULE_OF = {
    "Augmentation": "asl.data.augmentation",
    "Clip": "asl.contract.manifest",
    "ClipDataModule": "asl.data.datamodule",
    "DataSettings": "asl.data.settings",
    "Failure": "asl.inference.prediction",
    "FrameSettings": "asl.contract.frame_store",
    "Prediction": "asl.inference.prediction",
    "Predictor": "asl.inference.predictor",
    "load": "asl.inference.predictor",
    "read_checkpoint": "asl.training.checkpoints",
    "read_label_map": "asl.contract.label_map",
    "read_manifest": "asl.contract.manifest",
    "restore_network": "asl.training.checkpoints",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch takes seconds, and much of asl is used without."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'asl' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
