"""Speed of exported files beside torch, on the CPU.

    python -m benchmarks.export

Networks have random weights, with classifiers that tell clips apart. An fp32 file with a probability that
differs from torch's by more than 1e-4 is an error.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from asl.data.normalisation import KINETICS_MEAN, KINETICS_STD
from asl.data.sampling import Sampling
from asl.inference.export.config import FP16, INT8, ONNX, TORCH
from asl.inference.export.files import export_files, exported_models
from asl.inference.export.measure import Model, in_torch, measure, noise
from asl.inference.export.model_card import table_cells
from asl.inference.recogniser import Recogniser
from asl.machine import available_cores
from asl.model.networks.r2plus1d import R2Plus1D

ROOT = Path(__file__).resolve().parent.parent

_SHARPER = 20  # factor of the classifier's weights: probabilities of random ones hardly differ


def make_checkpoint(settings: R2Plus1D, *, glosses: int, resize: list[int], crop_size: int) -> dict[str, Any]:
    """What ``read_checkpoint`` would return, with random weights."""
    torch.manual_seed(0)
    state = settings.build(glosses).state_dict()
    state["fc.weight"] *= _SHARPER
    info = {
        "glosses": [f"gloss {label}" for label in range(glosses)],
        "network": f"{R2Plus1D.__module__}.{R2Plus1D.__qualname__}",
        "model": {"name": settings.name, **settings.architecture()},
        "sampling": asdict(Sampling()),
        "resize": resize,
        "crop_size": crop_size,
        "mean": list(KINETICS_MEAN),
        "std": list(KINETICS_STD),
        "dataset": "",
        "epoch": 0,
    }
    return {"asl": info, "state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}


NETWORKS = {
    "R(2+1)D-18, 100 glosses, 32 x 112 x 112": make_checkpoint(
        R2Plus1D(), glosses=100, resize=[128, 171], crop_size=112
    ),
    "the demo's network, 8 glosses, 32 x 48 x 48": make_checkpoint(
        R2Plus1D(width=12, layers=[1, 1, 1, 1]), glosses=8, resize=[48, 56], crop_size=48
    ),
}


def main() -> None:
    console = Console(highlight=False)
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    console.print(f"{platform.machine()}, {available_cores()} cores, {versions}, batches of 4\n")
    results = {}
    for name, checkpoint in NETWORKS.items():
        recogniser = Recogniser(checkpoint, device=torch.device("cpu"))
        frames = noise((Sampling().clip_len, *recogniser.framing.size, 3), recogniser.batch_size)
        files = export_files(
            checkpoint, formats=[ONNX, TORCH], quantize=[FP16, INT8], calibration=frames[:, None]
        )
        num_bytes = sum(tensor.numel() * tensor.itemsize for tensor in checkpoint["state_dict"].values())
        rows = measure([Model("torch", num_bytes, in_torch(recogniser)), *exported_models(files)], frames)
        titles, *lines = table_cells(rows)
        table = Table(*titles, title=name, title_justify="left")
        for line in lines:
            table.add_row(*line)
        console.print(table)
        results[name] = [asdict(row) for row in rows]
    out = ROOT / "benchmarks" / "out" / "export.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"versions": versions, "results": results}, indent=2))


if __name__ == "__main__":
    main()
