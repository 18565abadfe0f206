"""Where, how long and in which precision training runs."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asl.config.setting import ConfigError, setting

if TYPE_CHECKING:
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.loggers import Logger


@dataclass(kw_only=True)
class TrainerSettings:
    """Lightning's Trainer; the names are its own."""

    accelerator: str = setting("auto", "where to train", choices=["auto", "cpu", "gpu"])
    devices: str = setting("auto", "how many devices, or auto")
    strategy: str = setting("auto", "Lightning strategy", choices=["auto", "ddp"])
    precision: str = setting(
        "auto",
        "auto: bf16-mixed on a GPU that has it, 16-mixed on other GPUs, 32-true on CPUs",
        choices=["auto", "32-true", "16-mixed", "bf16-mixed"],
    )
    compile: str = setting(
        "auto",
        "torch.compile for training steps; auto: on GPUs, if it works there (in YAML write 'off' in quotes)",
        choices=["auto", "on", "off"],
    )
    max_epochs: int = setting(60, "epochs in all, resumed ones included", ge=1)
    gradient_clip_val: float = setting(1.0, "norm at which gradients are clipped; 0: never", ge=0)
    accumulate_grad_batches: int = setting(1, "batches an optimiser step", ge=1)
    log_every_n_steps: int = setting(
        50, "steps from one logged training loss to the next; each waits for the GPU", ge=1
    )
    progress_bar: bool = setting(True, "show a progress bar")

    def problems(self) -> Iterator[str]:
        """Values that cannot be said as a range."""
        if self.devices != "auto" and not re.fullmatch(r"[1-9]\d*", self.devices):
            yield f"trainer.devices={self.devices}: must be a number from 1, or auto"


@dataclass(kw_only=True)
class LoggerSettings:
    """Which logs are written under ``{paths.checkpoint_dir}/logs``."""

    tensorboard: bool = setting(False, "TensorBoard event files")
    csv: bool = setting(False, "metrics.csv")


def check_devices(settings: TrainerSettings) -> None:
    """Raise ConfigError if this machine lacks what ``settings`` ask for."""
    import torch

    if torch.cuda.is_available():
        return
    if settings.accelerator == "gpu":
        raise ConfigError(
            "trainer.accelerator=gpu: there is no CUDA device here; use trainer=auto or trainer=cpu"
        )
    if settings.precision == "16-mixed":
        raise ConfigError("trainer.precision=16-mixed needs a GPU; use trainer.precision=auto")


def build_trainer(
    settings: TrainerSettings, *, folder: Path, callbacks: Sequence[pl.Callback], logger: list[Logger]
) -> pl.Trainer:
    """Lightning's Trainer.

    Args:
        settings: see :class:`TrainerSettings`.
        folder: of the run.
        callbacks: all of them; a progress bar only if :func:`shows_bar`.
        logger: loggers; empty: none.
    """
    import pytorch_lightning as pl
    import torch

    from asl.training.checkpoints import AtomicCheckpointIO

    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=settings.strategy,
        precision=resolve_precision(settings.precision, settings.accelerator),  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        gradient_clip_val=settings.gradient_clip_val or None,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        log_every_n_steps=settings.log_every_n_steps,
        logger=logger or False,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=shows_bar(settings),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        benchmark=torch.cuda.is_available(),  # all batches have one shape
    )


def shows_bar(settings: TrainerSettings) -> bool:
    """Whether a progress bar is shown: not in a file, where its lines would pile up."""
    return settings.progress_bar and sys.stdout.isatty()


def build_loggers(settings: LoggerSettings, folder: Path) -> list[Logger]:
    """TensorBoard appends to its folder; CSVLogger would drop earlier rows, so each start has its own."""
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

    loggers: list[Logger] = []
    if settings.tensorboard:
        loggers.append(TensorBoardLogger(save_dir=folder, name="tensorboard", version=""))
    if settings.csv:
        loggers.append(CSVLogger(save_dir=folder, name="csv"))
    return loggers


def resolve_precision(precision: str, accelerator: str) -> str:
    """``auto`` -> the fastest precision that this machine's accelerator supports well."""
    import torch

    if precision != "auto":
        return precision
    if not on_gpu(accelerator):
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def on_gpu(accelerator: str) -> bool:
    """Whether ``trainer.accelerator`` means a CUDA device on this machine."""
    import torch

    return accelerator != "cpu" and torch.cuda.is_available()


def why_not_compiled(choice: str, device: torch.device) -> str | None:
    """Why training steps are not compiled on this device. None if they are to be compiled.

    An addition is compiled to find out whether torch.compile works.

    Args:
        choice: ``trainer.compile``.
        device: the one that trains.

    Raises:
        ConfigError: ``on`` where torch.compile does not work.
    """
    import torch

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


def quieten() -> None:
    """Silence Lightning's advice that does not apply here, and its advertisements."""
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
