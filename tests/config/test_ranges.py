"""Defaults and ranges of the settings that decide what is drawn, split, stored, augmented and minimised."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from asl.config.setting import find_problems
from asl.contract.frame_store import FrameSettings, FrameSpec
from asl.data.augmentation import Augmentation
from asl.data.framing import Framing
from asl.data.sampling import Sampling
from asl.data.split import SplitSettings
from asl.model.losses.cross_entropy import CrossEntropy
from asl.model.losses.focal import Focal
from asl.model.optimizer import OptimizerSettings
from asl.training.trainer import TrainerSettings


@pytest.mark.parametrize(
    ("settings", "defaults"),
    [
        (Sampling, {"fps": 25.0, "clip_len": 32, "frame_stride": 2, "pad": "edge", "long": "uniform"}),
        (
            Framing,
            {"resize": [128, 171], "crop_size": 112, "fit": "squeeze", "crop": "none", "enlarge": 1.2},
        ),
        (SplitSettings, {"split": None, "folds": 5, "fold": None, "fold_seed": 0}),
        (
            FrameSettings,
            {"fps": 25.0, "short_side": 128, "crop": "none", "enlarge": 1.2, "enabled": True},
        ),
        (
            Augmentation,
            {
                **{"hflip": False, "scale": [0.6, 1.0], "ratio": [0.75, 1.3333], "brightness": 0.2},
                **{"contrast": 0.2, "saturation": 0.2, "rotation": 0.0, "speed": [0.9, 1.1], "mixup": 0.0},
                **{"shift": 0.0, "drop": 0.0, "blur": 0.0, "downscale": 1.0, "noise": 0.0, "blocks": 0.0},
                **{"erase": 0.0},
            },
        ),
        (CrossEntropy, {"label_smoothing": 0.1}),
        (Focal, {"label_smoothing": 0.1, "gamma": 2.0}),
        (
            OptimizerSettings,
            {
                **{
                    "lr": 3e-4,
                    "scale_lr": "none",
                    "weight_decay": 0.01,
                    "warmup_epochs": 2.0,
                    "freeze_epochs": 0,
                },
                **{"layer_decay": 1.0, "ema_decay": None, "fused": True},
            },
        ),
    ],
)
def test_defaults(settings: type[Any], defaults: dict[str, Any]) -> None:
    assert dataclasses.asdict(settings()) == defaults
    assert list(find_problems(settings())) == []


@pytest.mark.parametrize(
    ("settings", "key", "refused", "allowed"),
    [
        (Sampling, "fps", 0.0, 0.1),
        (Sampling, "clip_len", 0, 1),
        (Sampling, "frame_stride", 0, 1),
        (SplitSettings, "folds", 2, 3),
        (SplitSettings, "fold", -1, 0),
        (SplitSettings, "fold_seed", -1, 0),
        (FrameSpec, "fps", 0.0, 0.1),
        (FrameSpec, "short_side", 15, 16),
        (FrameSpec, "enlarge", 0.0, 0.1),
        (Augmentation, "scale", [0.0, 1.0], [0.01, 1.0]),
        (Augmentation, "scale", [0.5, 1.01], [1.0, 1.0]),
        (Augmentation, "scale", [0.6, 0.5], [0.5, 0.5]),
        (Augmentation, "ratio", [0.0, 1.0], [0.01, 1.0]),
        (Augmentation, "ratio", [1.1, 1.0], [1.0, 1.0]),
        (Augmentation, "brightness", -0.01, 0.0),
        (Augmentation, "brightness", 1.01, 1.0),
        (Augmentation, "contrast", -0.01, 0.0),
        (Augmentation, "contrast", 1.01, 1.0),
        (Augmentation, "saturation", -0.01, 0.0),
        (Augmentation, "saturation", 1.01, 1.0),
        (Augmentation, "rotation", -0.1, 0.0),
        (Augmentation, "rotation", 45.1, 45.0),
        (Augmentation, "speed", [0.49, 1.0], [0.5, 1.0]),
        (Augmentation, "speed", [1.0, 2.01], [1.0, 2.0]),
        (Augmentation, "speed", [1.1, 1.0], [1.1, 1.1]),
        (Augmentation, "mixup", -0.01, 0.0),
        (Augmentation, "mixup", math.inf, 1e9),
        (Augmentation, "downscale", math.inf, 1e9),
        (Augmentation, "shift", -0.01, 0.0),
        (Augmentation, "shift", 0.41, 0.4),
        (Augmentation, "drop", -0.01, 0.0),
        (Augmentation, "drop", 1.01, 1.0),
        (Augmentation, "blur", -0.01, 0.0),
        (Augmentation, "downscale", 0.99, 1.0),
        (Augmentation, "noise", -0.01, 0.0),
        (Augmentation, "noise", 1.01, 1.0),
        (Augmentation, "blocks", -0.01, 0.0),
        (Augmentation, "blocks", 1.01, 1.0),
        (Augmentation, "erase", -0.01, 0.0),
        (Augmentation, "erase", 1.0, 0.99),
        (Framing, "crop_size", 7, 8),
        (Framing, "enlarge", 0.0, 0.01),
        (CrossEntropy, "label_smoothing", -0.01, 0.0),
        (CrossEntropy, "label_smoothing", 1.0, 0.99),
        (Focal, "gamma", -0.01, 0.0),
        (OptimizerSettings, "lr", 0.0, 1e-9),
        (OptimizerSettings, "weight_decay", -0.01, 0.0),
        (OptimizerSettings, "warmup_epochs", -0.01, 0.0),
        (OptimizerSettings, "freeze_epochs", -1, 0),
        (OptimizerSettings, "layer_decay", 0.0, 0.01),
        (OptimizerSettings, "layer_decay", 1.01, 1.0),
        (OptimizerSettings, "ema_decay", 0.0, 0.01),
        (OptimizerSettings, "ema_decay", 1.0, 0.9999),
        (TrainerSettings, "patience", 0, 1),
        (TrainerSettings, "num_nodes", 0, 1),
        (TrainerSettings, "timeout_s", 0.0, 0.1),
    ],
)
def test_ranges(settings: type[Any], key: str, refused: object, allowed: object) -> None:
    assert [
        problem.split("=")[0].split(".")[-1] for problem in find_problems(settings(**{key: refused}))
    ] == [key]
    assert list(find_problems(settings(**{key: allowed}))) == []
