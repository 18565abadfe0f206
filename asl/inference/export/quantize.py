"""ONNX files with smaller numbers: fp16, and int8 calibrated on training clips."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.contract.manifest import Clip
from asl.inference.export.formats import FRAMES


def to_fp16(model: bytes) -> bytes:
    """The ONNX file with weights and activations in fp16; its input and output stay as they are."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load_model_from_string(model), keep_io_types=True)
    content: bytes = converted.SerializeToString()
    return content


def to_int8(model: bytes, clips: Iterable[npt.NDArray[np.uint8]]) -> bytes:
    """The ONNX file with convolutions and the classifier in int8.

    Weights have 7 of the 8 bits and a scale for each output channel. With 8 bits, sums of products saturate
    on x86 CPUs without VNNI: the file would be less accurate there than on the machine that measured it.

    Args:
        model: the ONNX file in fp32.
        clips: ``(1, T, H, W, 3)`` uint8 each. The ranges of activations are the least and the greatest values
            on these clips.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    class Clips(CalibrationDataReader):
        """Gives one clip after another."""

        def __init__(self) -> None:
            self._clips = iter(clips)

        def get_next(self) -> dict[str, Any] | None:
            frames = next(self._clips, None)
            return None if frames is None else {FRAMES: frames}

    proto = onnx.load_model_from_string(model)
    add_pre_process_metadata(proto)  # torch has folded constants and batch norms, which is all it asks for
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_static(
            proto,
            file,
            Clips(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return file.read_bytes()


def calibration_sample(clips: Sequence[Clip], count: int) -> list[Clip]:
    """``count`` clips, or all if there are fewer, spread evenly over the clips sorted by label."""
    ordered = sorted(clips, key=lambda clip: (clip.label, clip.video_id))
    return [ordered[i * len(ordered) // count] for i in range(count)] if count < len(ordered) else ordered
