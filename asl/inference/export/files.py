"""All exported files of a checkpoint, in memory until they have been checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.inference.export.config import FP16, INT8, ONNX, TORCH
from asl.inference.export.formats import onnx_file, open_onnx, open_torch, torch_file, trace
from asl.inference.export.measure import Model
from asl.inference.export.network import FramesToProbabilities, describe
from asl.inference.export.quantize import to_fp16, to_int8

#: Names of the files by format.
NAMES = {ONNX: "model.onnx", FP16: "model_fp16.onnx", INT8: "model_int8.onnx", TORCH: "model.pt2"}


def export_files(
    checkpoint: dict[str, Any],
    *,
    formats: Collection[str],
    quantize: Collection[str] = (),
    calibration: Iterable[npt.NDArray[np.uint8]] = (),
) -> dict[str, bytes]:
    """The content of each file, by format.

    Args:
        checkpoint: the result of :func:`~asl.training.checkpoints.read_checkpoint`.
        formats: of ``onnx`` and ``torch``.
        quantize: of ``fp16`` and ``int8``, which are made of ``onnx``.
        calibration: clips for ``int8``, ``(1, T, H, W, 3)`` uint8 each.

    Raises:
        ExportError: a format cannot express the network.
    """
    network, about = FramesToProbabilities(checkpoint), describe(checkpoint["asl"])
    program = trace(network)
    files: dict[str, bytes] = {}
    if ONNX in formats:
        files[ONNX] = onnx_file(program, network, about)
    if FP16 in quantize:
        files[FP16] = to_fp16(files[ONNX])
    if INT8 in quantize:
        files[INT8] = to_int8(files[ONNX], calibration)
    if TORCH in formats:
        files[TORCH] = torch_file(program, about)
    return files


def exported_models(files: Mapping[str, bytes]) -> list[Model]:
    """Open the result of :func:`export_files`."""
    return [
        Model(
            NAMES[kind],
            len(content),
            open_torch(content) if kind == TORCH else open_onnx(content),
            exact=kind in (ONNX, TORCH),
        )
        for kind, content in files.items()
    ]
