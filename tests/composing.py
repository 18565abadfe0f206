"""Compose configurations from the shipped YAML files, as the programs do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from asl.config.compose import checked, register
from asl.download.config import DownloadConfig
from asl.evaluation.config import EvaluateConfig
from asl.inference.config import PredictConfig
from asl.inference.export.config import ExportConfig
from asl.preprocess.config import PreprocessConfig
from asl.training.config import TrainConfig

CONF = Path(__file__).resolve().parents[1] / "conf"
SCHEMAS: dict[str, Any] = {
    "download": DownloadConfig,
    "preprocess": PreprocessConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
}

register(**{f"{program}_schema": schema for program, schema in SCHEMAS.items()})


def composed(program: str, *overrides: str) -> Any:
    """The checked configuration of a program, such as ``train``."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return checked(compose(program, overrides=list(overrides)), SCHEMAS[program])
