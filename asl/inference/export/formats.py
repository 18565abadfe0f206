"""Exported files in memory: written by torch, opened as their users open them."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.export import Dim, ExportedProgram

from asl.inference.export.network import FramesToProbabilities
from asl.inference.export.packages import ExportError

#: Names of the input and the output of ONNX files.
FRAMES, PROBABILITIES = "frames", "probabilities"

#: The key of the metadata in ONNX files, and the name of the file with them in torch.export files.
METADATA, METADATA_FILE = "asl", "asl.json"

#: ``(B, T, H, W, 3)`` uint8 -> ``(B, num_classes)`` float32.
Run = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def trace(network: FramesToProbabilities) -> ExportedProgram:
    """The program that torch.export and ONNX files hold; its batch size is free.

    Raises:
        ExportError: torch.export cannot trace the network.
    """
    example = torch.zeros(2, *network.shape, dtype=torch.uint8)  # a batch of one would be taken for fixed
    with _explained("torch.export", network), _quiet():
        return torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch")},), strict=False)


def torch_file(program: ExportedProgram, metadata: str) -> bytes:
    """The content of a ``.pt2`` file, with ``metadata`` in its extra file :data:`METADATA_FILE`."""
    content = io.BytesIO()
    with _quiet():
        torch.export.save(program, content, extra_files={METADATA_FILE: metadata})
    return content.getvalue()


def open_torch(content: bytes) -> Run:
    """The function of a ``.pt2`` file."""
    with _quiet():
        module: Any = torch.export.load(io.BytesIO(content)).module()

    def run(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            probabilities: npt.NDArray[np.float32] = module(torch.from_numpy(frames)).numpy()
        return probabilities

    return run


def onnx_file(program: ExportedProgram, network: FramesToProbabilities, metadata: str) -> bytes:
    """The content of an ONNX file, with ``metadata`` under :data:`METADATA`.

    Raises:
        ExportError: ONNX cannot express the network.
    """
    with _explained("ONNX", network), _quiet():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[FRAMES], output_names=[PROBABILITIES], verbose=False
        )
    assert exported is not None
    model = exported.model_proto
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.metadata_props.add(key=METADATA, value=metadata)
    content: bytes = model.SerializeToString()
    return content


def open_onnx(content: bytes) -> Run:
    """The function of an ONNX file, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        (probabilities,) = session.run([PROBABILITIES], {FRAMES: frames})
        return np.asarray(probabilities, np.float32)

    return run


@contextmanager
def _explained(what: str, network: FramesToProbabilities) -> Iterator[None]:
    """Turn any error into one line: exporters raise exceptions of many kinds for what they cannot express."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ExportError(
            f"{what} cannot express the network {type(network.network).__name__}: {reason}\n"
            "Its forward() must not depend on values of tensors, and use operators that the format has"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings, which are about their own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
