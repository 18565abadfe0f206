"""Evaluations that were never run, and their page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clips import make_clip
from made_predictions import random_predictions

from asl.contract.frame_store import Frames
from asl.contract.manifest import Clip
from asl.data.framing import Framing
from asl.data.readers.base import ClipReader
from asl.data.sampling import Sampling
from asl.evaluation.coverage import Coverage
from asl.evaluation.page.films import MAX_FILMS, mistakes, read_films
from asl.evaluation.page.history import History
from asl.evaluation.page.page import build_page
from asl.evaluation.predictions import Prediction
from asl.evaluation.run import summarize

#: What was measured after each of four epochs, of val not after the second one.
HISTORY = History(
    (1, 2, 3, 4),
    {
        "train_loss": (2.0, 1.0, 0.75, 0.5),
        "val_loss": (2.5, None, 0.875, 0.625),
        "val_top1": (0.2, None, 0.6, 0.8),
        "val_top5": (0.9, None, 0.9, 0.9),
        "lr": (0.04, 0.03, 0.02, 0.01),
    },
)


class GreyReader(ClipReader):
    """Frame ``i`` is grey level ``5 * i`` with a white left edge."""

    def read(self, clip: Clip, file: Path, *, sampling: Sampling, framing: Framing, **more: Any) -> Frames:
        frames = np.empty((sampling.clip_len, *framing.size, 3), np.uint8)
        frames[:] = 5 * np.arange(sampling.clip_len, dtype=np.uint8)[:, None, None, None]
        frames[:, :, :2] = 255
        return frames


def renamed(predictions: Sequence[Prediction], names: Mapping[str, str]) -> list[Prediction]:
    """The predictions with other glosses."""
    return [
        dataclasses.replace(
            one,
            gloss=names.get(one.gloss, one.gloss),
            top=tuple((names.get(gloss, gloss), probability) for gloss, probability in one.top),
        )
        for one in predictions
    ]


def metrics_of(
    predictions: Mapping[str, Sequence[Prediction]], *, glosses: int, **more: Any
) -> dict[str, Any]:
    """The content of ``metrics.json`` for predictions by probe; ``more`` are other values."""
    return {
        "checkpoint": "checkpoints/best.pt",
        "epoch": 3,
        "model": "r2plus1d",
        "dataset": "made",
        "data_split": "official",
        "protocol": "standard",
        "split": "test",
        "views": 1,
        "device": "cpu",
        "precision": "32-true",
        "glosses": glosses,
        "left_out": 0,
        "coverage": Coverage(len(predictions["unchanged"]), 2 * len(predictions["unchanged"])),
        **summarize(predictions, resamples=200, seed=0),
        **more,
    }


def make_page(
    folder: Path,
    *,
    clips: int = 60,
    classes: int = 12,
    skill: float = 1.0,
    names: Mapping[str, str] | None = None,
    probes: Sequence[str] = ("mirror", "static"),
    history: History | str = HISTORY,
    with_films: bool = True,
    **more: Any,
) -> str:
    """The page of random predictions. Films are grey; their clips have names of files, and no files.

    Args:
        folder: the data folder, and the page's; an ``input.html`` there is linked.
        clips: how many.
        classes: how many glosses.
        skill: of the network.
        names: other glosses than ``gloss 0``, ``gloss 1``, ...
        probes: probes that are measured, too.
        history: of the training.
        with_films: whether clips that went wrong are shown with frames.
        more: other values of ``metrics.json``.
    """
    made = {
        name: renamed(random_predictions(seed, clips=clips, classes=classes, skill=skill), names or {})
        for seed, name in enumerate(["unchanged", *probes])
    }
    wrong = mistakes(made["unchanged"])[:MAX_FILMS] if with_films else []
    shown = [make_clip("test", one.label, int(one.video_id[-2:]), gloss=one.gloss) for one in wrong]
    shown = [
        dataclasses.replace(clip, video_id=one.video_id, path=f"videos/{one.video_id} #1.mp4")
        for clip, one in zip(shown, wrong, strict=True)
    ]
    for clip in shown:
        (folder / clip.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / clip.path).touch()
    return build_page(
        metrics_of(made, glosses=classes, **more),
        made["unchanged"],
        history=history,
        films=read_films(
            shown,
            data_dir=folder,
            reader=GreyReader(),
            sampling=Sampling(clip_len=8),
            framing=Framing(resize=[20, 30], crop_size=16),
        ),
        input_page=folder / "input.html",
        folder=folder / "evaluation",
    )
