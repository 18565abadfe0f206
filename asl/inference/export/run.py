"""An export (``python export.py``): a checkpoint to ONNX and torch.export files and a model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asl.contract.manifest import Clip, ManifestError
from asl.data.clip_files import clip_paths
from asl.data.readers.base import ClipReader
from asl.evaluation.checkpoint_clips import check_reader, read_checkpoint_clips
from asl.evaluation.inference import UNCHANGED, predict_clips
from asl.files import atomic_write, atomic_write_text
from asl.inference.export.config import INT8, ExportConfig
from asl.inference.export.console import print_export
from asl.inference.export.files import NAMES, export_files, exported_models
from asl.inference.export.formats import Run
from asl.inference.export.measure import Measured, Model, in_torch, measure, noise
from asl.inference.export.model_card import find_evaluation, model_card
from asl.inference.export.packages import check_packages
from asl.inference.export.quantize import calibration_sample
from asl.inference.recogniser import Recogniser
from asl.training.checkpoints import read_checkpoint

CARD = "README.md"


def export(config: ExportConfig) -> list[Measured]:
    """Write a checkpoint as files for other programs, each checked against it, and a model card.

    Args:
        config: the checked configuration.

    Returns:
        The rows of the table: the checkpoint, then each file.

    Raises:
        UserError: an error that the user can fix. No file was written.
    """
    check_packages()
    path, data_dir = Path(config.checkpoint), Path(config.paths.data_dir)
    checkpoint = read_checkpoint(path)
    info = checkpoint["asl"]
    evaluation = find_evaluation(config.metrics, path, info)
    clips: list[Clip] = []
    if config.quantize:
        clips = read_checkpoint_clips(
            info, path, dataset=config.dataset.name, data=config.data, split=config.split
        ).clips
        check_reader(config.reader, config.frames, info, path)
    measured = [clip for clip in clips if clip.split == config.split]
    training = calibration_sample([clip for clip in clips if clip.split == "train"], config.calibration_clips)
    if INT8 in config.quantize and not training:
        raise ManifestError(
            f"{config.data.manifest} has no train clips, from which quantize=[int8] takes the ranges of "
            "activations. Give a manifest with data.manifest=..., or leave int8 out"
        )
    reader = config.reader.build(config.frames, Path(config.paths.frames_dir))
    recogniser = Recogniser(checkpoint, device=torch.device("cpu"))

    calibration = _frames(training, reader, recogniser, data_dir)
    files = export_files(
        checkpoint, formats=config.formats, quantize=config.quantize, calibration=calibration
    )
    models = [Model(path.name, path.stat().st_size, in_torch(recogniser)), *exported_models(files)]

    def predict(run: Run) -> npt.NDArray[np.float64]:
        return predict_clips(
            ExportedRecogniser(checkpoint, run),
            measured,
            data_dir=data_dir,
            reader=reader,
            batch_size=config.data.batch_size,
            num_workers=config.data.reader_processes,
            timeout_s=config.reader.timeout_s,
        )[UNCHANGED]

    frames = noise((info["sampling"]["clip_len"], *recogniser.framing.size, 3), recogniser.batch_size)
    rows = measure(models, frames, measured, predict if measured else None)
    clips_in_words = f"{len(measured):,} {config.split} clips" if measured else ""
    folder = path.parent / "export" if config.output is None else Path(config.output)
    _write(folder, files, model_card(info, rows, clips_in_words, evaluation, license=config.license))
    print_export(rows, clips_in_words, evaluation, folder)
    return rows


class ExportedRecogniser(Recogniser):
    """A recogniser that runs an exported file on the CPU.

    Args:
        checkpoint: the result of :func:`~asl.training.checkpoints.read_checkpoint`.
        run: the function of the file.
    """

    def __init__(self, checkpoint: dict[str, Any], run: Run) -> None:
        super().__init__(checkpoint, device=torch.device("cpu"))
        self._run = run

    def probabilities(self, video: Tensor) -> Tensor:
        """``(B, T, H, W, C)`` uint8 -> ``(B, num_classes)`` float64."""
        return torch.from_numpy(self._run(video.numpy())).double()


def _frames(
    clips: Sequence[Clip], reader: ClipReader, recogniser: Recogniser, data_dir: Path
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frames of each clip, ``(1, T, H, W, 3)`` uint8."""
    files = clip_paths(clips, data_dir)
    reader.prepare(clips, files)
    for clip, file in zip(clips, files, strict=True):
        source = reader.source(clip, file)
        frames = reader.read(clip, source, sampling=recogniser.sampling(), framing=recogniser.framing)
        yield frames[np.newaxis]


def _write(folder: Path, files: dict[str, bytes], card: str) -> None:
    """Write all files, and remove those that an earlier export left in the folder."""
    for kind, content in files.items():
        with atomic_write(folder / NAMES[kind]) as file:
            file.write(content)
    for kind in NAMES.keys() - files.keys():
        (folder / NAMES[kind]).unlink(missing_ok=True)
    atomic_write_text(folder / CARD, card)
