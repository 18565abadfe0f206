"""What a precision of training costs and gives: gradients against fp32, accuracy over seeds, and speed.

    python -m benchmarks.precision [--seeds 5] [--epochs 10] [--only gradients,accuracy,speed] [--work DIR]

Gradients are those of R(2+1)D-18 on batches of the demo's clips at 112 pixels, with the weights of a run at
several moments. Accuracy is that of ``train.py`` on the demo at its full size, with 48 pixels, where only
``trainer.precision`` and ``seed`` differ. Speed is that of the compiled training step at 112 pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from asl.model.networks.padding import pad_planes
from asl.model.networks.video_resnet import VideoResNet
from benchmarks.demo_runs import ROOT, make_demo, run_train
from benchmarks.train import step_rate

BATCH, FRAMES, CROP = 16, 32, 112
GLOSSES = 100
_NOISE = 1e-3  # standard deviation; the input's is about 1

State = dict[str, Tensor]


@dataclass(frozen=True)
class Way:
    """How a step computes.

    Attributes:
        precision: ``trainer.precision`` of Lightning.
        keep: in which modules autocast is off, of "stem" and "norms".
    """

    precision: str
    keep: str = ""

    @property
    def dtype(self) -> torch.dtype:
        """The type of autocast; float32 if there is none."""
        return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision, torch.float32)


WAYS = {
    "fp32 with TF32": Way("32-true"),
    "bf16": Way("bf16-mixed"),
    "bf16, stem in fp32": Way("bf16-mixed", "stem"),
    "bf16, norms in fp32": Way("bf16-mixed", "norms"),
    "fp16": Way("16-mixed"),
}


def keep_fp32(network: nn.Module, keep: str) -> None:
    """Turn autocast off in the modules that ``keep`` names, see :class:`Way`."""
    kept: dict[str, list[nn.Module]] = {
        "": [],
        "stem": [network.get_submodule("stem")],
        "norms": [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)],
    }
    for module in kept[keep]:
        module.forward = _without_autocast(module.forward)  # type: ignore[method-assign]


def _without_autocast(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return forward(features.float())

    return run


# ---------------------------------------------------------------- runs of train.py


class Observer(pl.Callback):
    """Keeps the first training batches, and the weights after some epochs (counted from 1)."""

    def __init__(self, batches: int, epochs: Sequence[int]) -> None:
        self._most, self._epochs = batches, epochs
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.states: dict[int, State] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.states[0] = _copied(pl_module)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if len(self.batches) < self._most and len(batch["label"]) == BATCH:
            self.batches.append((batch["video"].clone(), batch["label"].clone()))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 in self._epochs:
            self.states[trainer.current_epoch + 1] = _copied(pl_module)


class KeepFp32(pl.Callback):
    """Applies :func:`keep_fp32` to the network of a run."""

    def __init__(self, keep: str) -> None:
        self._keep = keep

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            keep_fp32(pl_module.model, self._keep)


def _copied(module: pl.LightningModule) -> State:
    return {name: tensor.detach().clone() for name, tensor in module.model.state_dict().items()}  # type: ignore[operator, union-attr]


def run_network(data: Path, *overrides: str, callbacks: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """Train R(2+1)D-18 on the demo. See :func:`run_train` for what is returned."""
    folder = data / "checkpoints" / f"{len(list(data.glob('checkpoints/*')))}"
    keys = ["model=r2plus1d", "model.weights=null", "optim.lr=0.0003"]
    return run_train(data, folder, *keys, *overrides, callbacks=callbacks)


# ---------------------------------------------------------------- gradients


def gradients(data: Path, *, epochs: int, batches: int) -> dict[str, Any]:
    """By moment and way, the cosines of the gradients of single batches with those of fp32."""
    observer = Observer(batches, (1, epochs - 1, epochs))
    larger = ["data.resize=[128,171]", f"data.crop_size={CROP}", "frames.short_side=128"]
    larger += [f"data.batch_size={BATCH}"]
    run_network(
        data, *larger, "trainer.precision=32-true", f"trainer.max_epochs={epochs}", callbacks=[observer]
    )
    device = observer.batches[0][0].device
    trained = dict(observer.states[epochs])
    fresh = nn.Linear(trained["fc.weight"].shape[1], trained["fc.weight"].shape[0])
    trained |= {"fc.weight": 0.01 * torch.randn_like(fresh.weight), "fc.bias": torch.zeros_like(fresh.bias)}
    moments = {
        "untrained": observer.states[0],
        "after 1 epoch": observer.states[1],
        f"after {epochs - 1} of {epochs} epochs": observer.states[epochs - 1],
        "trained, with a new classifier": trained,
    }
    results: dict[str, Any] = {}
    for moment, state in moments.items():
        network = VideoResNet("r2plus1d", num_classes=len(trained["fc.bias"])).to(device)
        pad_planes(network, 8)
        exact = [_gradient(network, state, batch, Way("32-true")) for batch in observer.batches]
        others = ("fp32, noise on the input", "fp32, another batch")
        found: dict[str, list[float]] = {name: [] for name in (*WAYS, *others)}
        for number, batch in enumerate(observer.batches):
            for name, way in WAYS.items():
                tf32 = way.precision == "32-true"
                found[name].append(_cosine(_gradient(network, state, batch, way, tf32=tf32), exact[number]))
            noisy = batch[0] + _NOISE * torch.randn_like(batch[0]), batch[1]
            with_noise = _gradient(network, state, noisy, Way("32-true"))
            found["fp32, noise on the input"].append(_cosine(with_noise, exact[number]))
            found["fp32, another batch"].append(_cosine(exact[number - 1], exact[number]))
        results[moment] = found
    return results


def _gradient(
    network: VideoResNet,
    state: Mapping[str, Tensor],
    batch: tuple[Tensor, Tensor],
    way: Way,
    *,
    tf32: bool = False,
) -> Tensor:
    """The gradient of the loss of one batch, all parameters in one vector, on the device."""
    network.load_state_dict(state)
    network.train()
    network.zero_grad(set_to_none=True)
    # Gradients of fp16 are scaled so that small ones are not 0, as GradScaler does.
    scale = 2.0**12 if way.dtype == torch.float16 else 1.0
    autocast = (
        nullcontext() if way.dtype == torch.float32 else torch.autocast(batch[0].device.type, way.dtype)
    )
    with _tf32(tf32), autocast, _kept(network, way.keep):
        logits = network(batch[0].contiguous(memory_format=torch.channels_last_3d))
        loss = nn.functional.cross_entropy(logits.float(), batch[1])
        (scale * loss).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).double() / scale


@contextmanager
def _kept(network: nn.Module, keep: str) -> Iterator[None]:
    """:func:`keep_fp32` for the time of the block."""
    keep_fp32(network, keep)
    try:
        yield
    finally:
        for module in network.modules():
            vars(module).pop("forward", None)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether convolutions may round their inputs to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one, other) / (one.norm() * other.norm()))


# ---------------------------------------------------------------- accuracy and speed


def accuracy(data: Path, *, epochs: int, seeds: int, save: Callable[[dict[str, Any]], None]) -> None:
    """Train with each way and seed; ``save`` is called with all results so far."""
    results: dict[str, Any] = {name: [] for name in WAYS}
    for seed in range(seeds):
        for name, way in WAYS.items():
            keys = [f"trainer.precision={way.precision}", f"seed={seed}", f"trainer.max_epochs={epochs}"]
            results[name].append(run_network(data, *keys, callbacks=[KeepFp32(way.keep)]))
            save(results)


def speed(way: Way, batch: int = 32, steps: int = 30) -> float:
    """Clips a second of the compiled training step on random input that lies on the device."""
    device = torch.device("cuda")
    model = VideoResNet("r2plus1d", num_classes=GLOSSES).to(device).train()
    pad_planes(model, 8)
    keep_fp32(model, way.keep)
    model = model.to(memory_format=torch.channels_last_3d)
    video = torch.randn(batch, 3, FRAMES, CROP, CROP, device=device)
    video = video.contiguous(memory_format=torch.channels_last_3d)
    label = torch.randint(GLOSSES, (batch,), device=device)
    scaler = torch.amp.GradScaler("cuda", enabled=way.dtype == torch.float16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    torch.compiler.reset()
    network = torch.compile(model.forward, dynamic=False)
    torch.backends.cudnn.benchmark = True

    def step() -> None:
        with torch.autocast("cuda", way.dtype, enabled=way.dtype != torch.float32):
            loss = nn.functional.cross_entropy(network(video), label, label_smoothing=0.1)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return step_rate(step, steps, batch)


# ---------------------------------------------------------------- the program


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batches", type=int, default=6, help="whose gradients are compared")
    parser.add_argument("--only", default="gradients,accuracy,speed")
    parser.add_argument("--work", type=Path, help="keep the demo here, and take it from here next time")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/precision.json")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: there is no CUDA device here")
    console = Console(width=None if sys.stdout.isatty() else 140)
    results: dict[str, Any] = {"device": torch.cuda.get_device_name()}

    def save(name: str, value: object) -> None:
        results[name] = value
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))

    with tempfile.TemporaryDirectory() as temporary:
        data = (args.work or Path(temporary)).resolve()
        make_demo(data, short_sides=(64, 128))
        only = args.only.split(",")
        if "gradients" in only:
            save("gradients", gradients(data, epochs=args.epochs, batches=args.batches))
            _show_gradients(results["gradients"], console)
        if "accuracy" in only:
            accuracy(data, epochs=args.epochs, seeds=args.seeds, save=lambda found: save("accuracy", found))
            _show_accuracy(results["accuracy"], console)
        if "speed" in only:
            for name, way in WAYS.items():
                save("speed", {**results.get("speed", {}), name: speed(way)})
            _show_speed(results["speed"], console)


def _show_gradients(found: dict[str, Any], console: Console) -> None:
    table = Table("", *found, title="cosine with the gradient of fp32, mean (least)", title_justify="left")
    for name in next(iter(found.values())):
        cells = [f"{np.mean(ways[name]):.4f} ({np.min(ways[name]):.3f})" for ways in found.values()]
        table.add_row(name, *cells)
    console.print(table)


def _show_accuracy(found: dict[str, Any], console: Console) -> None:
    table = Table(
        "", "runs", "val top-1", "test top-1", "least val loss", "last val loss", title="mean ± std"
    )
    for name, runs in found.items():
        columns = [
            [run["val_top1"] for run in runs],
            [run["test_top1"] for run in runs],
            [min(run["history"]["val_loss"]) for run in runs],
            [run["history"]["val_loss"][-1] for run in runs],
        ]
        cells = [
            f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for values in columns if len(values) > 1
        ]
        table.add_row(name, f"{len(runs)}", *cells)
    console.print(table)


def _show_speed(found: dict[str, float], console: Console) -> None:
    table = Table("", "clips/s", "times bf16", title="the compiled step", title_justify="left")
    for name, rate in found.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / found['bf16']:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
