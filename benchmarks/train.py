"""Clips a second of ``train.py``, of the same network on random input, and of a plain training loop.

    python -m benchmarks.train [--train-clips 1442 --val-clips 338 --epochs 20] [--keys] [--cpu]
    python -m benchmarks.train --devices 2 [--model swin3d_t --batch 8] [--epochs 20] [--rows 1 2] [--cpu]

All in one run on one machine. The real path is ``train.py``'s own: clips that ``preprocess.py`` cut and
decoded, of 320x240, 640x480 and 1280x720, a few dozen different ones under as many names as asked for.
The ceiling is the same training step on random input that lies on the device. The plain loop is what
torchvision's video reference does: the network as built, SGD, decoding in the loader's workers. ``--keys``
adds what each key gives. ``--cpu`` is a small version for machines without a GPU.

``--devices`` measures ``train.py`` alone: the parts of its epochs on one device and on several, each run in a
process of its own. ``--rows`` chooses further runs, see :func:`device_rows`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.video import r2plus1d_18

from asl.config.compose import checked, register
from asl.contract.frame_store import FrameSpec, frames_path
from asl.contract.label_map import label_map_path, read_or_write_label_map
from asl.contract.manifest import Clip, read_manifest, write_manifest
from asl.data.augmentation import Augmentation
from asl.data.class_sampler import Draw
from asl.data.clip_dataset import ClipDataset
from asl.data.framing import Framing
from asl.data.readers.decord import DecordReader
from asl.data.sampling import Sampling
from asl.data.transforms import augment, centre_crop
from asl.machine import available_cores
from asl.model.networks.padding import pad_planes
from asl.model.networks.video_resnet import VideoResNet
from asl.training.config import TrainConfig
from asl.training.ranks import DataParallel
from asl.training.run import train
from benchmarks.made_videos import RATES, SIZES, Video, row, write_videos

ROOT = Path(__file__).resolve().parent.parent
GLOSSES = 100
FRAMES, CROP = 32, 112
PARTS = ("start", "steps", "validation", "end")  # of an epoch; the end has metrics, logs and checkpoint
_PROFILED = (5, 15)  # steps of the second epoch, which is left out of the rates


@dataclasses.dataclass
class Scale:
    """How large the whole thing is."""

    train_clips: int
    val_clips: int
    different: int
    batch: int
    epochs: int
    steps: int  # timed ones, of the ceiling and of the plain loop
    width: int  # 0: of a network without this key
    workers: int


# ---------------------------------------------------------------- data


def make_data(data: Path, scale: Scale, frames: FrameSpec) -> None:
    """Videos, clips and frames by ``preprocess.py``; then as many names for them as asked for."""
    videos = [
        Video(data / "raw" / f"v{i:03d}.mp4", *SIZES[i % 3], RATES[i // 3 % 3], 60 + 7 * (i % 8), i)
        for i in range(scale.different)
    ]
    (data / "raw").mkdir(parents=True)
    (data / "metadata").mkdir()
    write_videos(videos)
    rows = [row(video.path.stem, f"http://bench.example/{video.path.name}") for video in videos]
    (data / "metadata" / "few.json").write_text(json.dumps(rows))
    command = [sys.executable, str(ROOT / "preprocess.py"), f"paths.data_dir={data}", "dataset.name=few"]
    command += [f"dataset.metadata={data}/metadata/few.json", "dataset.num_glosses=null", "trim=cpu"]
    command += [f"frames.short_side={frames.short_side}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=data)
    made = read_manifest(data / "metadata" / "few_manifest.csv")
    multiply(data, made, "bench", scale.train_clips, scale.val_clips, frames)
    # A worker decodes whole batches, so that few of them would show a batch's time and not a rate.
    batches = max(12, 3 * scale.workers)
    multiply(data, made, "part", batches * scale.batch, scale.batch, frames)


def multiply(
    data: Path, made: list[Clip], name: str, train_clips: int, val_clips: int, frames: FrameSpec
) -> None:
    """A manifest of more clips than there are, each with a file of frames of its own."""
    clips = []
    for i in range(train_clips + val_clips):
        source = made[i % len(made)]
        clip = dataclasses.replace(
            source,
            video_id=f"{name}{i:05d}",
            split="train" if i < train_clips else "val",
            label=i % GLOSSES,
            gloss=f"gloss{i % GLOSSES:03d}",
        )
        clips.append(clip)
        kept, target = (frames_path(data / "frames", frames, v) for v in (source.video_id, clip.video_id))
        os.link(kept, target)
    manifest = data / "metadata" / f"{name}_manifest.csv"
    write_manifest(manifest, clips)
    read_or_write_label_map(label_map_path(manifest), [f"gloss{i:03d}" for i in range(GLOSSES)])


# ---------------------------------------------------------------- the real path


class Watch(pl.Callback):
    """Clips a second of each epoch's training, seconds of the whole epoch, and memory after it."""

    def __init__(self) -> None:
        self.clips_s: list[float] = []
        self.epoch_clips_s: list[float] = []  # from the epoch's start: with the decoding ahead of it
        self.step_ms: list[float] = []
        self.epoch_s: list[float] = []
        self.host_mb: list[float] = []
        self.first_step_s = 0.0
        self.busy: float | None = None  # share of the time in which the GPU computes
        self.kernels: dict[str, tuple[float, float]] = {}  # by name: milliseconds and number in each step
        self.parts: dict[str, list[float]] = {part: [] for part in PARTS}  # seconds in each epoch
        self._part = ""
        self._since = 0.0
        self._profiler: Any = None
        self._profiled = 0.0
        self._begin = self._epoch = self._start = 0.0

    def on_train_start(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def _enter(self, part: str) -> float:
        """Add the time since the last call to the part that was entered then. Returns the time."""
        now = synchronised_time()
        if self._part:
            self.parts[self._part].append(now - self._since)
        self._part, self._since = part, now
        return now

    def on_train_epoch_start(self, *_: Any) -> None:
        now = self._enter("start")
        if self._epoch:
            self.epoch_s.append(now - self._epoch)  # with validation and checkpoints
        self._epoch = now

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, index: int) -> None:
        if index == 0:
            self._enter("steps")
        if index == 1:  # the first batch has no batch before it during which it could be prepared
            self._begin = synchronised_time()
            if not self.first_step_s:
                self.first_step_s = self._begin - self._start

        long = trainer.num_training_batches > _PROFILED[1] and (trainer.max_epochs or 0) > 2
        if long and trainer.current_epoch == 1 and index in _PROFILED and torch.cuda.is_available():
            self._profile(index == _PROFILED[0])

    def _profile(self, begins: bool) -> None:
        if begins:
            self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self._profiler.start()
            self._profiled = synchronised_time()
        else:
            seconds = synchronised_time() - self._profiled
            self._profiler.stop()
            steps = _PROFILED[1] - _PROFILED[0]
            self.kernels = {
                one.key: (one.self_device_time_total / 1e3 / steps, one.count / steps)
                for one in self._profiler.key_averages()
                if one.self_device_time_total
            }
            self.busy = self.kernel_ms() * steps / 1e3 / seconds

    def kernel_ms(self, part: str = "") -> float:
        """Milliseconds that kernels with a part of a name take in each step."""
        return sum(ms for name, (ms, _) in self.kernels.items() if part in name)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        if trainer.is_last_batch:
            now, clips = self._enter("validation"), len(batch["label"]) * trainer.world_size
            self.clips_s.append(clips * index / (now - self._begin))
            self.step_ms.append(1e3 * (now - self._begin) / index)
            self.epoch_clips_s.append(clips * (index + 1) / (now - self._epoch))

    def on_train_end(self, *_: Any) -> None:
        self.epoch_s.append(self._enter("") - self._epoch)

    def on_validation_end(self, *_: Any) -> None:
        self._enter("end")
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.host_mb.append(pages * resource.getpagesize() / 1e6)


def composed(*overrides: str) -> TrainConfig:
    """The configuration of ``train.py``."""
    register(train_schema=TrainConfig)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return checked(compose("train", overrides=list(overrides)), TrainConfig)


def run_train(data: Path, name: str, scale: Scale, *overrides: str) -> dict[str, Any]:
    """``train.py`` in this process."""
    keys = [f"paths.data_dir={data}", f"dataset.name={name}", "model.weights=null"]
    keys += [f"paths.checkpoint_dir={data}/checkpoints/{len(list(data.glob('checkpoints/*')))}"]
    keys += [f"data.batch_size={scale.batch}", *([f"model.width={scale.width}"] if scale.width else [])]
    keys += [f"trainer.max_epochs={scale.epochs}", "trainer.progress_bar=false"]
    settings = composed(*keys, *overrides)
    watch = Watch()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    train(settings, callbacks=[watch])
    warm = slice(2, None) if len(watch.clips_s) > 2 else slice(-1, None)  # compiled, and not profiled
    return {
        "clips_s": float(np.median(watch.clips_s[warm])),
        "epoch_clips_s": float(np.median(watch.epoch_clips_s[warm])),
        "epoch_s": [round(seconds, 2) for seconds in watch.epoch_s],
        "step_ms": float(np.median(watch.step_ms[warm])),
        "first_step_s": watch.first_step_s,
        "device_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0,
        "host_mb": [round(mb) for mb in watch.host_mb],
        "busy": watch.busy,
        "kernel_ms": watch.kernel_ms(),
        "exchange_ms": watch.kernel_ms("nccl"),
        "kernels": watch.kernels,
        "parts": {
            part: float(np.median(seconds[2:-1] or seconds[2:] or seconds))  # the last end waits for the file
            for part, seconds in watch.parts.items()
        },
    }


@dataclasses.dataclass(frozen=True)
class DeviceRow:
    """A run of ``train.py`` on one or on several devices.

    Args:
        overrides: keys of ``train.py``.
        buckets: exchange gradients with DistributedDataParallel, which ``train.py`` does between machines.
        first_device: the first device that it sees.
        at_once: number of runs at once that know nothing of each other, each on one device. Their clips a
            second are added up: the rate of several devices that do not wait for each other.
    """

    overrides: tuple[str, ...]
    buckets: bool = False
    first_device: int | None = None
    at_once: int = 1


def device_rows(model: str, devices: int, *, on_gpu: bool) -> dict[str, DeviceRow]:
    """Each run that ``--rows`` can choose, by its name."""
    one = (f"model={model}", f"trainer={'gpu' if on_gpu else 'cpu'}")
    several = (*one, "trainer.strategy=ddp", f"trainer.devices={devices}")
    host, rounded = "reader.placement=host", "trainer.compress_gradients=bf16"
    rows = {
        "1": DeviceRow(one),
        f"{devices}": DeviceRow(several),
        f"{devices}, buckets": DeviceRow(several, buckets=True),
        "1 on each": DeviceRow(one, first_device=0, at_once=devices),
        "1, host": DeviceRow((*one, host)),
        f"{devices}, host": DeviceRow((*several, host)),
    }
    if on_gpu:
        rows |= {
            "1, the last": DeviceRow(one, first_device=devices - 1),
            f"{devices}, bf16": DeviceRow((*several, rounded)),
        }
    return rows


def run_alone(data: Path, scale: Scale, row: DeviceRow) -> dict[str, Any]:
    """:func:`run_train` in a process of its own, which Lightning can start again for each further rank.

    With ``row.at_once``, so many of them. The figures are those of the first, but for the rates.
    """
    results, started = [], []
    for other in range(row.at_once):
        number = len(list(data.glob("run*.json"))) + other
        results.append(data / f"run{number}.json")
        run = {
            **{"data": str(data), "scale": dataclasses.asdict(scale), "result": str(results[-1])},
            "overrides": (*row.overrides, f"paths.checkpoint_dir={data}/checkpoints/run{number}"),
            "buckets": row.buckets,
        }
        command = [sys.executable, "-m", "benchmarks.train", "--run", json.dumps(run)]
        first = row.first_device
        seen = {} if first is None else {"CUDA_VISIBLE_DEVICES": f"{first + other}"}
        started.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | seen))
    codes = [process.wait() for process in started]
    if any(codes):
        sys.exit("error: a run failed, see above")
    runs = [json.loads(result.read_text()) for result in results]
    rates = [run["clips_s"] for run in runs]
    return runs[0] | {"clips_s": sum(rates), "each_clips_s": rates}


def _run_as_told(run: dict[str, Any]) -> None:
    """What :func:`run_alone` starts."""
    if run["buckets"]:
        DataParallel.averages_at_once = lambda self: False  # type: ignore[method-assign]
    torch.set_float32_matmul_precision("high")
    measured = run_train(Path(run["data"]), "bench", Scale(**run["scale"]), *run["overrides"])
    if os.environ.get("LOCAL_RANK", "0") == "0":
        Path(run["result"]).write_text(json.dumps(measured))


# ---------------------------------------------------------------- what it is held against


def step_rate(step: Callable[[], Any], steps: int, batch: int) -> float:
    """Clips a second of a training step, once warm, over so many steps."""
    for _ in range(5):
        step()
    begin = synchronised_time()
    for _ in range(steps):
        step()
    return batch * steps / (synchronised_time() - begin)


def ceiling(
    device: torch.device,
    scale: Scale,
    *,
    bf16: bool = True,
    channels_last: bool = True,
    compiled: bool = True,
    padded: bool = True,
    fused: bool = True,
) -> float:
    """The training step of ``train.py`` on random input that lies on the device, without Lightning."""
    on_gpu = device.type == "cuda"
    model: nn.Module = VideoResNet("r2plus1d", num_classes=GLOSSES, width=scale.width).to(device).train()
    if padded and on_gpu:
        pad_planes(model, 8)
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    video = torch.randn(scale.batch, 3, FRAMES, CROP, CROP, device=device).contiguous(memory_format=layout)
    label = torch.randint(GLOSSES, (scale.batch,), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused and on_gpu)
    torch.compiler.reset()
    network = torch.compile(model.forward, dynamic=False) if compiled and on_gpu else model
    torch.backends.cudnn.benchmark = on_gpu

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16 and on_gpu):
            loss = nn.functional.cross_entropy(network(video), label, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step_rate(step, scale.steps, scale.batch)


def plain_step(device: torch.device, scale: Scale, *, amp: bool) -> Callable[[Tensor, Tensor], None]:
    """A step as torchvision's video reference has it: references/video_classification/train.py."""
    if scale.width == 64:
        model: nn.Module = r2plus1d_18(weights=None, num_classes=GLOSSES)
    else:
        model = VideoResNet("r2plus1d", num_classes=GLOSSES, width=scale.width)
    model = model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=amp)

    def step(video: Tensor, label: Tensor) -> None:
        with torch.autocast(device.type, torch.float16, enabled=amp):
            loss = nn.functional.cross_entropy(model(video), label)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def plain_on_device(device: torch.device, scale: Scale, *, amp: bool) -> float:
    """The plain step alone, on random input that lies on the device."""
    batch = min(scale.batch, 16)
    video = torch.randn(batch, 3, FRAMES, CROP, CROP, device=device)
    label = torch.randint(GLOSSES, (batch,), device=device)
    step = plain_step(device, scale, amp=amp)
    return step_rate(lambda: step(video, label), scale.steps, batch)


def plain_with_decoding(device: torch.device, data: Path, scale: Scale, *, amp: bool) -> float:
    """The plain step on clips that the loader's workers decode."""
    batch = min(scale.batch, 16)
    dataset = ClipDataset(
        [clip for clip in read_manifest(data / "metadata" / "part_manifest.csv") if clip.split == "train"],
        data_dir=data,
        sampling=Sampling(),
        reader=DecordReader(),
        framing=Framing(),
        num_workers=scale.workers,
    )
    ahead = 2 * scale.workers  # batches that are decoded before the first one is asked for
    steps = max(scale.steps, 6 * ahead)
    draws = [Draw(i % len(dataset), entropy=(0, 0, i)) for i in range(steps * batch)]
    loader = DataLoader(
        dataset,
        sampler=draws,  # type: ignore[arg-type]
        batch_size=batch,
        num_workers=scale.workers,
        pin_memory=device.type == "cuda",
    )
    step, begin, clips = plain_step(device, scale, amp=amp), 0.0, 0
    for number, loaded in enumerate(loader):
        video = centre_crop(loaded["video"].to(device, non_blocking=True), crop_size=CROP)
        step(video, loaded["label"].to(device, non_blocking=True))
        if number == ahead:
            begin, clips = synchronised_time(), 0
        else:
            clips += batch
    return clips / (synchronised_time() - begin)


def augmentation_ms(device: torch.device, scale: Scale) -> float:
    """Milliseconds in which a batch of frames on the device becomes what the network sees."""
    video = torch.randint(256, (scale.batch, FRAMES, 128, 171, 3), device=device, dtype=torch.uint8)
    uniforms = torch.rand(scale.batch, 10, device=device)
    made = torch.compile(augment, dynamic=False) if device.type == "cuda" else augment
    rate = step_rate(
        lambda: made(video, uniforms, crop_size=CROP, augmentation=Augmentation()), scale.steps, scale.batch
    )
    return 1e3 * scale.batch / rate


_OFF = ("bf16", "fused", "channels_last", "compiled", "padded")  # turned on one after the other
KEYS: dict[str, dict[str, bool]] = {
    name: dict.fromkeys(_OFF[place:], False)
    for place, name in enumerate(
        (
            "fp32 (TF32), as built",
            "+ bf16 autocast (trainer.precision)",
            "+ fused AdamW (optim.fused)",
            "+ channels last (model.channels_last)",
            "+ compiled (trainer.compile)",
            "+ planes padded to 8 (model.pad_planes)",
        )
    )
}


def synchronised_time() -> float:
    """Seconds of a clock, after the GPU has done all that was started."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


# ---------------------------------------------------------------- the table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train-clips", type=int, default=1442, help="WLASL100's")
    parser.add_argument("--val-clips", type=int, default=338)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--keys", action="store_true", help="what each key gives; compiles more networks")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain loop and reader=decord out")
    parser.add_argument("--cpu", action="store_true", help="a small version, without a GPU")
    parser.add_argument("--devices", type=int, help="the parts of an epoch on one device and on so many")
    parser.add_argument("--model", default="r2plus1d", help="with --devices: the network")
    parser.add_argument("--rows", nargs="+", default=(), help="with --devices: runs, such as '2, buckets'")
    parser.add_argument("--batch", type=int, default=32, help="with --devices: clips of a device's batch")
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)  # of run_alone()
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/out/train.json")
    args = parser.parse_args()
    if args.run is not None:
        _run_as_told(args.run)
        return
    if args.devices and args.keys:
        parser.error("--keys is not for --devices, whose runs are chosen with --rows")
    if args.rows and not args.devices:
        parser.error("--rows needs --devices")
    if not args.cpu and not torch.cuda.is_available():
        sys.exit("error: there is no CUDA device here; a small version runs with --cpu")
    device = torch.device("cpu" if args.cpu else "cuda")
    if args.cpu:
        scale = Scale(32, 8, 6, 4, 3, 4, 8, min(2, available_cores()))
    else:
        workers = min(16, available_cores())
        scale = Scale(args.train_clips, args.val_clips, 48, 32, args.epochs, 30, 64, workers)

    console = Console()
    if args.devices:
        if not args.cpu:
            width = 64 if args.model == "r2plus1d" else 0
            scale = dataclasses.replace(scale, batch=args.batch, width=width)
        target = args.json.with_stem(f"{args.json.stem}_{args.model}_{args.devices}")
        compare_devices(args.devices, args.model, scale, device.type, target, names=args.rows)
        return
    results: dict[str, Any] = {"cores": available_cores(), "device": str(device)}
    if not args.cpu:
        results["device"] = torch.cuda.get_device_name(device)

    def save() -> None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))

    torch.set_float32_matmul_precision("high")
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary).resolve()
        make_data(data, scale, FrameSpec())
        trainer = [f"trainer={'cpu' if args.cpu else 'gpu'}"]
        results["real"] = run_train(data, "bench", scale, *trainer)
        save()
        results["host"] = run_train(data, "bench", scale, *trainer, "reader.placement=host")
        save()
        results["ceiling"] = ceiling(device, scale)
        results["augmentation_ms"] = augmentation_ms(device, scale)
        save()
        if not args.no_plain:
            for amp in (False, True) if device.type == "cuda" else (False,):
                name = f"{'AMP' if amp else 'fp32'}, batches of {min(scale.batch, 16)}"
                results[f"plain step, {name}"] = plain_on_device(device, scale, amp=amp)
                results[f"plain loop, {name}"] = plain_with_decoding(device, data, scale, amp=amp)
                save()
            short = dataclasses.replace(scale, epochs=2)
            results["decord"] = run_train(data, "part", short, *trainer, "reader=decord")
            save()
        if args.keys and not args.cpu:
            few = dataclasses.replace(scale, steps=15)
            results["keys"] = {}
            for name, keys in KEYS.items():
                results["keys"][name] = ceiling(device, few, **keys)
                save()
    save()
    _show(results, console)


def compare_devices(
    devices: int, model: str, scale: Scale, device_type: str, target: Path, *, names: Sequence[str]
) -> None:
    """Measure ``train.py`` on one device and on several, and print a table with the parts of an epoch."""
    on_gpu = device_type == "cuda"
    known = device_rows(model, devices, on_gpu=on_gpu)
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"error: --rows: {unknown[0]!r} is none of {list(known)}")
    rows = {name: known[name] for name in dict.fromkeys(["1", *(names or [f"{devices}"])])}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary).resolve()
        make_data(data, scale, FrameSpec(short_side=composed(*rows["1"].overrides).frames.short_side))
        target.parent.mkdir(parents=True, exist_ok=True)
        for name, row in rows.items():
            results[name] = run_alone(data, scale, row)
            target.write_text(json.dumps(results, indent=1))
    _show_devices(
        results,
        f"{torch.cuda.get_device_name() if on_gpu else 'CPU'}, {available_cores()} cores, {model}, "
        f"{scale.train_clips} + {scale.val_clips} clips, batches of {scale.batch} a device; seconds an epoch",
    )


def _show_devices(results: dict[str, Any], title: str) -> None:
    table = Table(title=title, title_justify="left")
    columns = ("devices", *PARTS, "all", "times", "clips/s", "times", "step, ms", "kernels", "NCCL's")
    for column in columns:
        table.add_column(column, justify="left" if column == "devices" else "right")
    first = results["1"]
    for name, run in results.items():
        seconds, alone = (sum(each["parts"].values()) for each in (run, first))
        table.add_row(
            name,
            *(f"{run['parts'][part]:.3f}" for part in PARTS),
            f"{seconds:.3f}",
            f"{alone / seconds:.2f}",
            f"{run['clips_s']:.1f}",
            f"{run['clips_s'] / first['clips_s']:.2f}",
            f"{run['step_ms']:.1f}",
            *(f"{run[key]:.1f}" if run["kernels"] else "" for key in ("kernel_ms", "exchange_ms")),
        )
    Console(width=130).print(table)


def _show(results: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{results['device']}, {results['cores']} cores", title_justify="left")
    for name in ("", "clips/s", "of the ceiling"):
        table.add_column(name, justify="right" if name else "left")
    top = results["ceiling"]
    rows = {
        "train.py, frames in device memory": results["real"]["clips_s"],
        "train.py, frames on the disk (reader.placement=host)": results["host"]["clips_s"],
        "the same step on random input: the ceiling": top,
        "train.py, reader=decord": results.get("decord", {}).get("epoch_clips_s"),
        **{name: value for name, value in results.items() if name.startswith("plain")},
        **results.get("keys", {}),
    }
    for name, rate in rows.items():
        if rate is not None:
            table.add_row(name, f"{rate:.1f}", f"{rate / top:.1%}")
    console.print(table)
    real = results["real"]
    busy = "an unknown share" if real["busy"] is None else f"{real['busy']:.1%}"
    console.print(f"epochs of train.py, with validation and checkpoints: {real['epoch_s']} s")
    console.print(f"the same with frames on the disk: {results['host']['epoch_s']} s")
    console.print(
        f"first step after {real['first_step_s']:.1f} s; device memory at most {real['device_gb']:.1f} GB; "
        f"host memory after each epoch {real['host_mb']} MB; GPU busy for {busy} of time; "
        f"augmentation {results['augmentation_ms']:.2f} ms a batch"
    )


if __name__ == "__main__":
    main()
