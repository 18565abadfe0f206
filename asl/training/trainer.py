"""Lightning's Trainer: devices, precision, duration, and logs."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asl.config.setting import ConfigError, as_override, setting

if TYPE_CHECKING:
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.loggers import Logger


@dataclass(kw_only=True)
class TrainerSettings:
    """Arguments of Lightning's Trainer, under its names, and ``compile``."""

    accelerator: str = setting(
        "auto", "device type; auto: a GPU if there is one", choices=["auto", "cpu", "gpu"]
    )
    devices: str = setting("1", "number of devices of each machine; auto: all GPUs, or one CPU process")
    num_nodes: int = setting(1, "number of machines", ge=1)
    strategy: str = setting(
        "auto", "ddp: several devices; auto: if there are several", choices=["auto", "ddp"]
    )
    sync_batchnorm: bool = setting(
        False,
        "several GPUs: batch norms use the statistics of all of them; not compiled, no model.pad_planes",
    )
    compress_gradients: str = setting(
        "none", "several GPUs: round gradients while they are exchanged", choices=["none", "bf16", "fp16"]
    )
    timeout_s: float = setting(
        600.0, "several devices: end the run if one waits for another for so many seconds", gt=0
    )
    precision: str = setting(
        "auto",
        "auto: bf16-mixed on a GPU that has it, 16-mixed on other GPUs, 32-true on CPUs",
        choices=["auto", "32-true", "16-mixed", "bf16-mixed"],
    )
    compile: str = setting(
        "auto",
        "torch.compile for training steps; auto: on GPUs, if it works and helps (in YAML: 'off' in quotes)",
        choices=["auto", "on", "off"],
    )
    batch: str = setting(
        "fixed",
        "fixed: data.batch_size; auto: on one GPU the largest batch that fits into its memory",
        choices=["fixed", "auto"],
    )
    max_epochs: int = setting(60, "number of epochs, those before a resume included", ge=1)
    early_stopping: str | None = setting(
        None,
        "end the run when this has not been better for trainer.patience epochs; null: never",
        choices=["val_top1", "val_loss"],
    )
    patience: int = setting(10, "epochs without a better value after which trainer.early_stopping ends", ge=1)
    gradient_clip_val: float = setting(1.0, "largest norm of the gradients; 0: no clipping", ge=0)
    accumulate_grad_batches: int = setting(1, "batches per optimiser step", ge=1)
    log_every_n_steps: int = setting(
        50, "steps between logged training losses; logging waits for the GPU", ge=1
    )
    progress_bar: bool = setting(True, "show a progress bar")

    def problems(self) -> Iterator[str]:
        """Yield a message for each value that is not allowed and that a range cannot exclude."""
        if self.devices != "auto" and not re.fullmatch(r"[1-9]\d*", self.devices):
            yield f"trainer.devices={self.devices}: must be a number from 1, or auto"
        if self.sync_batchnorm and self.compile == "on":
            yield "trainer.sync_batchnorm=true: is not compiled, so set trainer.compile=auto or 'off'"


@dataclass(kw_only=True)
class LoggerSettings:
    """Which logs are written under ``{paths.checkpoint_dir}/logs``."""

    tensorboard: bool = setting(False, "TensorBoard event files")
    csv: bool = setting(False, "metrics.csv")


def check_devices(settings: TrainerSettings) -> None:
    """Raise ConfigError if this machine does not have the devices that ``settings`` select."""
    import torch

    if on_gpu(settings.accelerator):
        gpus = torch.cuda.device_count()
        if settings.devices != "auto" and int(settings.devices) > gpus:
            raise ConfigError(f"trainer.devices={settings.devices}: there are {gpus} GPUs here")
        return
    if settings.accelerator == "gpu":
        raise ConfigError(
            "trainer.accelerator=gpu: there is no CUDA device here; use trainer=auto or trainer=cpu"
        )
    # torch 2.14 on CPUs with AVX512_BF16: a gradient in bfloat16 of a 3D convolution's weights depends on
    # memory that nothing has written, if the kernel spans three frames and the input has two.
    if settings.precision not in ("auto", "32-true"):
        raise ConfigError(f"trainer.precision={settings.precision} needs a GPU; use trainer.precision=auto")
    for key in ("sync_batchnorm", "compress_gradients"):
        if getattr(settings, key) not in (False, "none"):
            raise ConfigError(f"trainer.{key}={as_override(getattr(settings, key))} needs GPUs")


def build_trainer(
    settings: TrainerSettings, *, folder: Path, callbacks: Sequence[pl.Callback], logger: list[Logger]
) -> pl.Trainer:
    """Build Lightning's Trainer.

    Args:
        settings: see :class:`TrainerSettings`.
        folder: folder of the run.
        callbacks: all callbacks, including a progress bar if :func:`shows_bar`.
        logger: loggers; may be empty.

    Raises:
        ConfigError: torchrun or SLURM has started another number of processes than there are devices, or
            there are several machines and neither has started the run.
    """
    import pytorch_lightning as pl
    import torch

    from asl.training.checkpoints import AtomicCheckpointIO
    from asl.training.ranks import check_ranks, cluster_plugins, data_parallel

    devices = settings.devices
    if devices == "auto":
        devices = str(torch.cuda.device_count()) if on_gpu(settings.accelerator) else "1"
    alone = settings.strategy == "auto" and devices == "1" and settings.num_nodes == 1
    trainer = pl.Trainer(
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=settings.num_nodes,
        strategy="auto" if alone else data_parallel(settings.compress_gradients, settings.timeout_s),
        precision=resolve_precision(settings.precision, settings.accelerator),  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        gradient_clip_val=settings.gradient_clip_val or None,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        log_every_n_steps=settings.log_every_n_steps,
        logger=logger or False,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO(), *cluster_plugins()],
        enable_progress_bar=shows_bar(settings),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        benchmark=torch.cuda.is_available(),  # all batches have one shape
    )
    check_ranks(trainer)
    # Lightning would exchange in each step whether a rank has received SIGTERM, and wait for the device.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    return trainer


def shows_bar(settings: TrainerSettings) -> bool:
    """Whether a progress bar is shown. Never if stdout is not a terminal."""
    return settings.progress_bar and sys.stdout.isatty()


def build_loggers(settings: LoggerSettings, folder: Path) -> list[Logger]:
    """Build the loggers that write below ``folder``.

    TensorBoard appends to its folder. CSVLogger would delete the rows of earlier starts, so that each start
    writes into a new ``version_N``.
    """
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    loggers: list[Logger] = []
    if settings.tensorboard:
        # If a signal interrupts a write to its queue, the end of the run waits for its next flush.
        loggers.append(TensorBoardLogger(save_dir=folder, name="tensorboard", version="", flush_secs=5))
    if settings.csv:
        loggers.append(CSVLogger(save_dir=folder, name="csv"))
    return loggers


def resolve_precision(precision: str, accelerator: str) -> str:
    """Replace ``auto`` by the fastest precision that the accelerator supports in hardware."""
    import torch

    if precision != "auto":
        return precision
    if not on_gpu(accelerator):
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def on_gpu(accelerator: str) -> bool:
    """Whether training with this ``trainer.accelerator`` uses a CUDA device on this machine."""
    import torch

    return accelerator != "cpu" and torch.cuda.is_available()


def why_not_compiled(choice: str, device: torch.device, *, gains: bool) -> str | None:
    """The reason why training steps are not compiled. None if they are to be compiled.

    Compiles an addition to find out whether torch.compile works.

    Args:
        choice: ``trainer.compile``.
        device: the device that trains.
        gains: whether compiling makes the network faster.

    Raises:
        ConfigError: ``choice`` is ``on`` and torch.compile does not work.
    """
    import torch

    if choice == "off":
        return "trainer.compile=off"
    if choice == "auto" and device.type != "cuda":
        return "GPUs only"
    if choice == "auto" and not gains:
        return "it gains nothing with this network"
    try:
        torch.compile(_addition)(torch.ones(8, device=device))
    except Exception as error:  # no Triton, no C compiler, unsupported Python: each raises its own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if choice == "on":
            raise ConfigError(
                f"trainer.compile=on: torch.compile does not work here ({reason}). Use trainer.compile=auto"
            ) from error
        return f"torch.compile does not work here: {reason}"
    return None


def _addition(number: torch.Tensor) -> torch.Tensor:
    return number + 1


def filter_lightning_messages() -> None:
    """Suppress Lightning's warnings that do not apply here, and its log messages at INFO."""
    for pattern in (
        r".*does not have many workers.*",  # there is one per core
        r".*smaller than the logging interval.*",  # a small data set has few steps per epoch
        r".*exists and is not empty.*",  # a resumed run continues in its folder
        r".*callbacks used to create the checkpoint need to be provided.*",  # a resumed run may have others
        r".*checkpoint was not created with WeightAveraging.*",  # the average begins with its weights
        r".*isinstance\(treespec, LeafSpec\).*",  # deprecated in torch, used by Lightning 2.6
        r".*recommended to use `self\.log\(.*sync_dist=True.*",  # SplitMetrics are of all ranks
        r".*`broadcast_buffers` is deprecated.*",  # its successor is not in torch 2.6
        r".*The `srun` command is available on your system but is not used.*",  # see cluster_plugins()
        r"Grad strides do not match bucket view strides.*",  # of 1×1 kernels, whose memory is the same
    ):
        warnings.filterwarnings("ignore", pattern)
    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "pytorch_lightning.accelerators.cuda",
        "pytorch_lightning.trainer.connectors.checkpoint_connector",
        "lightning_fabric.utilities.distributed",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
