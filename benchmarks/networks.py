"""Clips a second, memory, first and second step of each network, beside a plain torchvision loop.

    python -m benchmarks.networks [--networks r2plus1d s3d ...] [--ways asl ...] [--compile-until 200] [--cpu]

All in one run on one machine. asl's step begins with the frames of a batch as they lie in device memory:
augmentation, network, loss, gradients, clipping, fused AdamW, in mixed precision. The plain step is that
of torchvision's video reference (references/video_classification/train.py): the network as built, SGD,
random input of floats that lies on the device. Compiling takes longest and comes last: no network is
begun ``--compile-until`` seconds after the start. As in train.py, a network that gains nothing by it is not
compiled. ``--cpu`` is a small version for machines without a GPU, whose figures say nothing.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from torch import nn
from torchvision.models import get_model

from asl.config.compose import checked, register
from asl.data.transforms import NUM_UNIFORMS, augment
from asl.model.compiling import compile_parts, drop_compiled_code
from asl.training.config import TrainConfig
from asl.training.device_errors import is_out_of_memory
from benchmarks.train import synchronised_time

ROOT = Path(__file__).resolve().parent.parent
GLOSSES = 100
#: Clips of a batch that fit into 80 GB in 32 bits, too.
BATCHES = {
    **{"r2plus1d": 32, "r3d": 32, "mc3": 32},
    **{"s3d": 16, "mvit_v2_s": 16, "swin3d_t": 12, "swin3d_b": 8},
}
DEFAULT = ("r2plus1d", "s3d", "mvit_v2_s", "swin3d_t", "swin3d_b")
WAYS = ("plain, fp32", "plain, AMP", "asl, channels first", "asl, not compiled", "asl")


@dataclass
class Measured:
    """What a training step took."""

    clips_s: float
    first_s: float  # of the first step, which searches kernels and compiles
    second_s: float  # which records CUDA graphs, where the network has them
    device_gb: float


def configuration(name: str, *, small: bool) -> TrainConfig:
    """The configuration of ``train.py`` with a network."""
    keys = [f"model={name}", "model.weights=null"]
    if small:
        keys += ["data.clip_len=8", "data.resize=[40,48]", "data.crop_size=32"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return checked(compose("train", overrides=keys), TrainConfig)


def asl_step(
    config: TrainConfig, batch: int, device: torch.device, *, compiled: bool, channels_last: bool
) -> Callable[[], None]:
    """A training step of asl without Lightning."""
    on_gpu, data = device.type == "cuda", config.data
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = config.model.build(GLOSSES).to(device).train()
    if on_gpu:
        config.model.tune_for_gpu(network)
    for parameter in network.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    frames = torch.randint(256, (batch, data.clip_len, *data.size, 3), device=device, dtype=torch.uint8)
    uniforms, label = torch.rand(batch, NUM_UNIFORMS, device=device), torch.arange(batch, device=device)
    optimizer, loss = config.optim.build(network, fused=on_gpu), config.loss.build()
    prepare: Callable[..., torch.Tensor] = augment
    cuda_graphs = compiled and on_gpu and config.model.gains_by_cuda_graphs
    if compiled:
        compile_parts(config.model.compiled_parts(network), cuda_graphs=cuda_graphs)
        prepare = torch.compile(augment, dynamic=False)

    def step() -> None:
        if cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        clips = prepare(
            frames,
            uniforms,
            crop_size=data.crop_size,
            augmentation=config.augment,
            mean=config.model.mean,
            std=config.model.std,
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            value = loss(network(clips.contiguous(memory_format=layout)), label)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    return step


def plain_step(config: TrainConfig, batch: int, device: torch.device, *, amp: bool) -> Callable[[], None]:
    """A training step as torchvision's video reference has it."""
    name, data = config.model.name, config.data
    if device.type == "cuda":
        theirs = f"{name}_18" if name in ("r2plus1d", "r3d", "mc3") else name
        network = get_model(theirs, num_classes=GLOSSES)
    else:
        network = config.model.build(GLOSSES)  # torchvision's takes no small input
    network = network.to(device).train()
    size = (batch, 3, data.clip_len, data.crop_size, data.crop_size)
    clips, label = torch.randn(size, device=device), torch.arange(batch, device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=amp)

    def step() -> None:
        with torch.autocast(device.type, torch.float16, enabled=amp):
            value = nn.functional.cross_entropy(network(clips), label)
        optimizer.zero_grad()
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def measure(
    make: Callable[[], Callable[[], None]], batch: int, *, warmup: int, steps: int
) -> Measured | None:
    """Measure a step. None if the GPU's memory runs out."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        step = make()
        begin = synchronised_time()
        step()
        first = synchronised_time() - begin
        begin = synchronised_time()
        step()
        second = synchronised_time() - begin
        for _ in range(warmup):
            step()
        begin = synchronised_time()
        for _ in range(steps):
            step()
        rate = batch * steps / (synchronised_time() - begin)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        step = None  # type: ignore[assignment]
        drop_compiled_code()
    return Measured(rate, first, second, torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=BATCHES, default=DEFAULT)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="of training to measure")
    parser.add_argument("--steps", type=int, default=10, help="that are timed")
    parser.add_argument("--compile-until", type=float, default=200.0, help="seconds")
    parser.add_argument("--cpu", action="store_true", help="a small version, without a GPU")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/networks.json")
    args = parser.parse_args()
    if not args.cpu and not torch.cuda.is_available():
        sys.exit("error: there is no CUDA device here; a small version runs with --cpu")
    start, device = time.monotonic(), torch.device("cpu" if args.cpu else "cuda")
    register(train_schema=TrainConfig)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.benchmark = True
    results: dict[str, dict[str, Measured | None]] = {name: {} for name in args.networks}
    configs = {name: configuration(name, small=args.cpu) for name in args.networks}
    for way in args.ways:
        for name, config in configs.items():
            if way == "asl" and (args.cpu or time.monotonic() - start > args.compile_until):
                continue
            batch = 2 if args.cpu else BATCHES[name]
            if way.startswith("plain"):
                make = functools.partial(plain_step, config, batch, device, amp=way == "plain, AMP")
            else:
                last = way != "asl, channels first"
                compiled = way == "asl" and config.model.gains_by_compiling
                make = functools.partial(
                    asl_step, config, batch, device, compiled=compiled, channels_last=last
                )
            results[name][way] = measure(
                make, batch, warmup=0 if args.cpu else 2, steps=1 if args.cpu else args.steps
            )
            print(f"{time.monotonic() - start:.0f} s: {name}, {way}", file=sys.stderr)
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(_plain(results), indent=1))
    _show(results, configs, cpu=args.cpu)


def _plain(results: dict[str, dict[str, Measured | None]]) -> dict[str, dict[str, object]]:
    return {
        name: {way: None if one is None else asdict(one) for way, one in ways.items()}
        for name, ways in results.items()
    }


def _show(
    results: dict[str, dict[str, Measured | None]], configs: dict[str, TrainConfig], *, cpu: bool
) -> None:
    title = "CPU, small input" if cpu else torch.cuda.get_device_name()
    table = Table(title=title, title_justify="left")
    for column in ("network", "batch", "", "clips/s", "of plain fp32", "memory", "first step", "second"):
        table.add_column(column, justify="left" if column in ("network", "batch", "") else "right")
    for name, ways in results.items():
        data, plain = configs[name].data, ways.get("plain, fp32")
        batch = f"{2 if cpu else BATCHES[name]}×{data.clip_len}×{data.crop_size}²"
        for way, one in ways.items():
            cells = ["out of memory", "", "", "", ""]
            if one is not None:
                factor = "" if plain is None else f"{one.clips_s / plain.clips_s:.2f}"
                cells = [f"{one.clips_s:.1f}", factor, f"{one.device_gb:.1f} GB"]
                cells += [f"{one.first_s:.1f} s", f"{one.second_s:.1f} s"]
            table.add_row(name, batch, way, *cells)
        table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
