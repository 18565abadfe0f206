"""Probabilities for clips of a manifest: views averaged, and probes beside the unchanged clips."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch.utils.data import DataLoader

from asl.contract.manifest import Clip
from asl.data.class_sampler import EvaluationSampler
from asl.data.clip_dataset import Batch, ClipDataset, explain_worker_error
from asl.data.clip_files import clip_paths
from asl.data.readers.base import ClipReader
from asl.errors import UserError
from asl.evaluation.probes import PROBES
from asl.inference.recogniser import Recogniser

UNCHANGED = "unchanged"


class PredictionError(UserError):
    """A network that gives no probabilities."""


def predict_clips(
    recogniser: Recogniser,
    clips: Sequence[Clip],
    *,
    data_dir: Path,
    reader: ClipReader,
    views: int = 1,
    probes: Sequence[str] = (),
    batch_size: int = 16,
    num_workers: int = 0,
    timeout_s: float = 300.0,
    seed: int = 0,
) -> dict[str, npt.NDArray[np.float64]]:
    """Predict each clip, and each clip as the probes change it.

    Args:
        recogniser: the network and its input.
        clips: rows of the manifest.
        data_dir: folder to which the paths in the manifest are relative.
        reader: reads the frames; frames that it has not stored are made first.
        views: temporal views whose probabilities are averaged.
        probes: names of :data:`PROBES`.
        batch_size: clips that are read together; the results do not depend on it.
        num_workers: processes that read clips.
        timeout_s: time limit of a batch of these processes.
        seed: of the probe ``shuffle``.

    Returns:
        ``(N, num_classes)`` probabilities by probe, those of the clips as they are under :data:`UNCHANGED`.

    Raises:
        ClipError: files are missing or cannot be read, or a process hung or crashed.
        PredictionError: the network gives values that are not finite.
    """
    reader.prepare(clips, clip_paths(clips, data_dir))
    ids = [clip.video_id for clip in clips]
    shape = len(clips), recogniser.num_classes
    sums = {name: np.zeros(shape) for name in (UNCHANGED, *probes)}
    options: dict[str, Any] = {"timeout": timeout_s} if num_workers else {}
    for view in range(views):
        dataset = ClipDataset(
            clips,
            data_dir=data_dir,
            reader=reader,
            sampling=recogniser.sampling(view, views),
            framing=recogniser.framing,
            num_workers=num_workers,
        )
        loader: DataLoader[Batch] = DataLoader(
            dataset,
            sampler=EvaluationSampler(len(clips)),
            batch_size=batch_size,
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
        first = 0
        title = f"view {view + 1} of {views}" if views > 1 else "clips"
        try:
            for batch in track(loader, title, transient=True, disable=not sys.stdout.isatty()):
                video = batch["video"].to(recogniser.device, non_blocking=True)
                rows = slice(first, first + len(video))
                for name, total in sums.items():
                    changed = video if name == UNCHANGED else PROBES[name](video, ids[rows], seed)
                    total[rows] += recogniser.probabilities(changed).numpy()
                first = rows.stop
        except RuntimeError as error:
            explained = explain_worker_error(error, [dataset], timeout_s=timeout_s, num_workers=num_workers)
            if explained is None:
                raise
            raise explained from error
    for total in sums.values():
        _check_finite(total, ids)
    return {name: total / views for name, total in sums.items()}


def _check_finite(values: npt.NDArray[np.float64], video_ids: Sequence[str]) -> None:
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise PredictionError(
            f"the network gives no finite probabilities for {len(wrong)} clips, the first is "
            f"{video_ids[wrong[0]]}. If precision is 16-mixed, use 32-true; otherwise the checkpoint is of a "
            "training that diverged"
        )
