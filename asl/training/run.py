"""``python train.py``: manifest in, ``last.pt``, ``best.pt`` and ``metrics.json`` out."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from asl.config import TrainConfig
from asl.config.setting import ConfigError
from asl.contract.frame_store import FrameSpec
from asl.contract.manifest import read_manifest
from asl.data.datamodule import ClipDataModule
from asl.data.placement import DEVICE, training_reserve
from asl.data.reader import scalable
from asl.data.sampling import Sampling
from asl.data.stored_frames import FrameStore
from asl.data.transforms import KINETICS_MEAN, KINETICS_STD, Augmentation
from asl.errors import UserError
from asl.files import atomic_write_text, remove_temp_files
from asl.model.classifier import SignClassifier
from asl.model.losses import build_loss
from asl.model.padding import pad_planes
from asl.model.video_resnet import MAX_STAGES, VideoResNet
from asl.model.weights import KINETICS, load_weights
from asl.training.checkpoints import (
    BEST,
    LAST,
    CheckpointError,
    LastAndBest,
    WholeFiles,
    adopt_best,
    changed_settings,
    check_same_run,
    checkpoint_to_resume,
    read_checkpoint,
)
from asl.training.console import Bar, EpochLine, FirstStepLine, print_result, print_start

METRICS = "metrics.json"


class DeviceMemoryError(UserError):
    """The GPU's memory does not do."""


def train(config: TrainConfig, *, callbacks: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """Train, keep the best epoch on val, measure it once on test.

    Args:
        config: of the run.
        callbacks: Lightning's, besides our own.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        UserError: whatever the user can mend, before any training where it can be known before.
    """
    check_config(config)
    folder = checkpoint_folder(config)
    resume_from = checkpoint_to_resume(config.resume, folder)
    quieten()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = build_datamodule(config)
    portable = portable_settings(config, datamodule)
    changed, epoch = ([], 0) if resume_from is None else _look_into(resume_from, portable)
    module = build_module(config, datamodule, portable, pretrained=resume_from is None)
    best_and_last = LastAndBest(folder)
    trainer = build_trainer(config, folder, best_and_last, callbacks)
    with _explained_errors(config, datamodule):
        not_compiled = why_not_compiled(config.trainer.compile, trainer.strategy.root_device)
        if not_compiled is None:
            module.compile_training()
            datamodule.compile_augmentation()
        datamodule.place(trainer.strategy.root_device, processes=trainer.num_devices)
        if trainer.is_global_zero:
            remove_temp_files(folder)
            if resume_from is not None:
                adopt_best(resume_from, folder, epoch=epoch)
            print_start(
                config,
                datamodule,
                module,
                trainer,
                folder=folder,
                resume_from=resume_from,
                changed=changed,
                not_compiled=not_compiled,
            )
        if trainer.local_rank == 0:  # before Lightning starts the other processes, which would wait for long
            datamodule.prepare_data()
        trainer.fit(module, datamodule=datamodule, ckpt_path=resume_from, weights_only=True)
        if trainer.interrupted:
            raise UserError(f"stopped; go on with: resume=auto ({folder / LAST} has the last whole epoch)")
        metrics = measure(trainer, module, datamodule, folder)
    if trainer.is_global_zero:
        atomic_write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
        print_result(metrics, folder)
    return metrics


def _look_into(resume_from: Path, portable: dict[str, Any]) -> tuple[list[str], int]:
    """What the run will see otherwise than before, and the checkpoint's epoch; refuses another run's."""
    checkpoint = read_checkpoint(resume_from)
    check_same_run(checkpoint, resume_from, portable)
    return changed_settings(checkpoint, portable), checkpoint["asl"]["epoch"]


@contextmanager
def _explained_errors(config: TrainConfig, datamodule: ClipDataModule) -> Iterator[None]:
    """Around training: errors of readers and of a full GPU say what to do, and memory is given back."""
    try:
        yield
    except RuntimeError as error:
        if _is_device_memory(error):
            raise DeviceMemoryError(_without_memory(error, config, datamodule)) from error
        explained = datamodule.explain(error)
        if explained is None:
            raise
        raise explained from error
    finally:
        datamodule.release()


def _is_device_memory(error: RuntimeError) -> bool:
    text = str(error)
    return (
        isinstance(error, torch.cuda.OutOfMemoryError)
        or ("CUDA" in text and "out of memory" in text)
        or "ALLOC_FAILED" in text  # cuBLAS and cuDNN
    )


def _without_memory(error: RuntimeError, config: TrainConfig, datamodule: ClipDataModule) -> str:
    """What was said, and the ways out."""
    size, steps = config.data.batch_size, config.trainer.accumulate_grad_batches
    ways = ["end what else uses the GPU (nvidia-smi)"]
    if datamodule.placement is not None and datamodule.placement.where == DEVICE:
        ways.append("leave the frames on the disk (reader.placement=host)")
    if size > 1:  # a smaller batch alone would also be another training, with another schedule
        smaller = f"data.batch_size={size // 2} trainer.accumulate_grad_batches={2 * steps}"
        ways.append(f"make the same steps of smaller batches ({smaller})")
    said = next(iter(str(error).splitlines()), "CUDA out of memory")
    return f"{said}\nTo go on: {', or '.join(ways)}. resume=auto goes on after the last whole epoch"


def measure(
    trainer: pl.Trainer, module: SignClassifier, datamodule: ClipDataModule, folder: Path
) -> dict[str, Any]:
    """The best epoch on the test split; ``test_top1`` and ``test_top5`` are None where there is none."""
    best_file = folder / BEST
    if not best_file.is_file():
        raise CheckpointError(f"{best_file} is gone, so there is no best epoch to measure on test")
    best = read_checkpoint(best_file)["asl"]
    has_test = len(datamodule.datasets["test"]) > 0
    if has_test:
        trainer.test(module, datamodule=datamodule, ckpt_path=best_file, verbose=False, weights_only=True)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items()} if has_test else {}
    return {
        "val_top1": best["metrics"]["val_top1"],
        "val_top5": best["metrics"]["val_top5"],
        "test_top1": tested.get("test_top1"),
        "test_top5": tested.get("test_top5"),
        "epochs": read_checkpoint(folder / LAST)["asl"]["epoch"],
        "best_epoch": best["epoch"],
        "num_classes": len(datamodule.glosses),
        "clips": {split: len(dataset) for split, dataset in datamodule.datasets.items()},
        "dataset": best["dataset"],
        "model": best["model"]["name"],
    }


def check_config(config: TrainConfig) -> None:
    """What one key alone cannot say.

    Raises:
        ConfigError: naming every pair of keys that do not go together.
    """
    data, augment, model, trainer = config.data, config.augment, config.model, config.trainer
    problems = []
    if data.crop_size > min(data.resize):
        problems.append(f"data.crop_size={data.crop_size}: does not fit into data.resize={data.resize}")
    problems += _reader_problems(config)
    if config.reader.name == "decord" and not scalable(data.resize[1]):
        problems.append(
            f"data.resize={data.resize}: decord cannot scale to a width of {data.resize[1]} on every "
            f"machine; take {next(w for w in range(data.resize[1], 999) if scalable(w))}"
        )
    for key, (low, high) in (
        ("scale", augment.scale),
        ("ratio", augment.ratio),
        ("speed", augment.speed),
    ):
        if low > high:
            problems.append(f"augment.{key}={[low, high]}: the first must not be greater than the second")
    if not 1 <= len(model.layers) <= MAX_STAGES:
        problems.append(f"model.layers={model.layers}: must have 1 to {MAX_STAGES} stages")
    if model.weights == KINETICS and (model.width != 64 or model.layers != [2, 2, 2, 2]):
        problems.append(
            f"model.weights={KINETICS} is for model.width=64 and model.layers=[2,2,2,2], not "
            f"model.width={model.width} and model.layers={model.layers}: set these, or model.weights=null"
        )
    if trainer.devices != "auto" and not re.fullmatch(r"[1-9]\d*", trainer.devices):
        problems.append(f"trainer.devices={trainer.devices}: must be a number from 1, or auto")
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        problems.append(
            "trainer.accelerator=gpu: there is no CUDA device here; use trainer=auto or trainer=cpu"
        )
    if trainer.precision == "16-mixed" and not torch.cuda.is_available():
        problems.append("trainer.precision=16-mixed needs a GPU; use trainer.precision=auto")
    if problems:
        raise ConfigError("\n".join(problems))


def _reader_problems(config: TrainConfig) -> Iterator[str]:
    """Frames that the store does not have."""
    data, frames = config.data, config.frames
    if config.reader.name != "frames":
        return
    if not frames.enabled:
        yield "frames.enabled=false: then clips are decoded whenever they are drawn; take reader=decord"
    if data.fps is None and frames.fps is not None:
        yield (
            f"data.fps=null wants every frame of a file, frames.fps={frames.fps:g} keeps those of a grid: "
            "set frames.fps=null (of both programs), or reader=decord"
        )
    if data.fps is not None and frames.fps is not None and data.fps > frames.fps:
        yield (
            f"data.fps={data.fps:g} wants more frames than frames.fps={frames.fps:g} keeps: set "
            f"frames.fps={data.fps:g} or frames.fps=null (of both programs), or reader=decord"
        )


def checkpoint_folder(config: TrainConfig) -> Path:
    """``paths.checkpoint_dir``; in a multirun a folder in it, named after the job's own overrides.

    The name does not hold the job's number, so that the same sweep started again finds its folders.
    """
    folder = Path(config.paths.checkpoint_dir)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return folder / job_name(list(HydraConfig.get().overrides.task))
    return folder


def job_name(overrides: list[str]) -> str:
    """A folder name from overrides: ``['seed=1', 'optim.lr=0.1']`` -> ``optim.lr=0.1,seed=1``.

    What a file name cannot hold is replaced and, so that two jobs never share a folder, a checksum
    of the overrides is appended: ``['model.layers=[1,1]']`` -> ``model.layers=_1,1_-2a6ac6f5``.
    """
    elsewhere = ("resume", "paths.checkpoint_dir")
    text = ",".join(sorted(o for o in overrides if o.lstrip("+~").split("=", 1)[0] not in elsewhere))
    name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text)[:150].lstrip(".")
    return name if name == text and name else f"{name or 'job'}-{zlib.crc32(text.encode()):08x}"


def build_datamodule(config: TrainConfig) -> ClipDataModule:
    data, augment = config.data, config.augment
    spec = FrameSpec(fps=config.frames.fps, short_side=config.frames.short_side)
    precision = resolve_precision(config.trainer.precision, config.trainer.accelerator)
    return ClipDataModule(
        read_manifest(Path(data.manifest)),
        data_dir=Path(config.paths.data_dir),
        sampling=Sampling(
            fps=data.fps,
            clip_len=data.clip_len,
            frame_stride=data.frame_stride,
            pad=data.pad,
            long=data.long,
        ),
        resize=(data.resize[0], data.resize[1]),
        crop_size=data.crop_size,
        augmentation=Augmentation(
            **{
                **dataclasses.asdict(augment),
                "scale": tuple(augment.scale),
                "ratio": tuple(augment.ratio),
                "speed": tuple(augment.speed),
            }
        ),
        store=(
            FrameStore(folder=Path(config.paths.frames_dir), spec=spec)
            if config.reader.name == "frames"
            else None
        ),
        placement=config.reader.placement,
        reserve=training_reserve(
            batch_size=data.batch_size,
            clip_len=data.clip_len,
            crop_size=data.crop_size,
            width=config.model.width,
            layers=config.model.layers,
            full_precision=precision == "32-true",
        ),
        balance=data.balance,
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        timeout_s=config.reader.timeout_s,
        seed=config.seed,
    )


def portable_settings(config: TrainConfig, datamodule: ClipDataModule) -> dict[str, Any]:
    """What a checkpoint needs to be used alone: numbers, strings and lists."""
    model = config.model
    return {
        "dataset": config.dataset.name,
        "glosses": list(datamodule.glosses),
        "model": {
            "name": model.name,
            "width": model.width,
            "layers": list(model.layers),
            "dropout": model.dropout,
        },
        "sampling": dataclasses.asdict(datamodule.sampling),
        "resize": list(datamodule.resize),
        "crop_size": datamodule.crop_size,
        "seed": config.seed,
        "mean": list(KINETICS_MEAN),
        "std": list(KINETICS_STD),
    }


def build_module(
    config: TrainConfig, datamodule: ClipDataModule, portable: dict[str, Any], *, pretrained: bool
) -> SignClassifier:
    """The classifier; ``pretrained=False`` leaves ``model.weights`` alone because a checkpoint follows."""
    num_classes = len(datamodule.glosses)
    model = VideoResNet(num_classes=num_classes, **portable["model"])
    if config.model.weights is not None and pretrained:
        load_weights(model, config.model.weights, name=config.model.name)
    if on_gpu(config.trainer.accelerator):  # on a CPU more planes are only more work
        pad_planes(model, config.model.pad_planes)
    return SignClassifier(
        model,
        build_loss(config.loss.name, label_smoothing=config.loss.label_smoothing, gamma=config.loss.gamma),
        num_classes=num_classes,
        lr=config.optim.lr,
        weight_decay=config.optim.weight_decay,
        warmup_epochs=config.optim.warmup_epochs,
        fused=config.optim.fused,
        channels_last=config.model.channels_last,
        seed=config.seed,
        portable=portable,
    )


def build_trainer(
    config: TrainConfig, folder: Path, checkpoints: LastAndBest, more: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    settings = config.trainer
    bar = settings.progress_bar and sys.stdout.isatty()  # in a file its lines would pile up
    callbacks: list[pl.Callback] = [
        checkpoints,
        EpochLine(checkpoints),
        FirstStepLine(),
        *([Bar(settings.log_every_n_steps)] if bar else []),
        *more,
    ]
    trainer = pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=settings.strategy,
        precision=resolve_precision(settings.precision, settings.accelerator),  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        gradient_clip_val=settings.gradient_clip_val or None,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        log_every_n_steps=settings.log_every_n_steps,
        logger=build_loggers(config, folder / "logs"),
        callbacks=callbacks,
        plugins=[WholeFiles()],
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the samplers know their rank
        num_sanity_val_steps=0,
        default_root_dir=folder,
        benchmark=torch.cuda.is_available(),  # all batches have one shape
    )
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN and trainer.world_size > 1:
        launched_outside = trainer.strategy.cluster_environment.creates_processes_externally  # type: ignore[attr-defined]
        if not launched_outside:
            raise ConfigError(
                f"--multirun on {trainer.world_size} devices: each further process would start the whole "
                "sweep again. Use trainer.devices=1, or start it with torchrun"
            )
    return trainer


def resolve_precision(precision: str, accelerator: str) -> str:
    """``auto`` -> what this machine's accelerator does best."""
    if precision != "auto":
        return precision
    if not on_gpu(accelerator):
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def on_gpu(accelerator: str) -> bool:
    """Whether ``trainer.accelerator`` means a CUDA device on this machine."""
    return accelerator != "cpu" and torch.cuda.is_available()


def why_not_compiled(choice: str, device: torch.device) -> str | None:
    """Why ``trainer.compile`` means no compiling on this device; None: compile.

    Whether torch.compile works is found out by compiling an addition.

    Raises:
        ConfigError: ``on`` where torch.compile does not work.
    """
    if choice == "off":
        return "trainer.compile=off"
    if choice == "auto" and device.type != "cuda":
        return "GPUs only"
    try:
        torch.compile(_addition)(torch.ones(8, device=device))
    except Exception as error:  # no Triton, no C compiler, no support for this Python: each has its own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if choice == "on":
            raise ConfigError(
                f"trainer.compile=on: torch.compile does not work here ({reason}). Use trainer.compile=auto"
            ) from error
        return f"torch.compile does not work here: {reason}"
    return None


def _addition(number: torch.Tensor) -> torch.Tensor:
    return number + 1


def build_loggers(config: TrainConfig, folder: Path) -> list[Logger] | bool:
    """TensorBoard goes on in its folder; CSVLogger would drop earlier rows, so each start has its own."""
    loggers: list[Logger] = []
    if config.logger.tensorboard:
        loggers.append(TensorBoardLogger(save_dir=folder, name="tensorboard", version=""))
    if config.logger.csv:
        loggers.append(CSVLogger(save_dir=folder, name="csv"))
    return loggers or False


def quieten() -> None:
    """Lightning's advice that does not apply here, and its advertisements."""
    for pattern in (
        r".*does not have many workers.*",  # two cores have two
        r".*smaller than the logging interval.*",
        r".*exists and is not empty.*",
        r".*isinstance\(treespec, LeafSpec\).*",
        r".*you are using.*`devices` argument.*",
    ):
        warnings.filterwarnings("ignore", pattern)
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
