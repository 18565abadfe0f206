"""Write and read checkpoints: ``last.pt`` after each epoch, ``best.pt`` at the best ``val_top1``."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor, nn

from asl.config.setting import shell_override
from asl.errors import UserError
from asl.files import atomic_copy, atomic_link, atomic_write
from asl.model.networks.base import NetworkSettings
from asl.model.weights import WeightsError, read_tensors
from asl.training.interruption import finished_first

LAST, BEST = "last.pt", "best.pt"

#: Checkpoints of the first version have the network's name but not the class of its settings.
_FIRST_NETWORKS = {
    "r2plus1d": "asl.model.networks.r2plus1d.R2Plus1D",
    "r3d": "asl.model.networks.r3d.R3D",
    "mc3": "asl.model.networks.mc3.MC3",
}


class CheckpointError(UserError):
    """A checkpoint that is missing or damaged, would be overwritten, or belongs to another run."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints atomically, and reads them without executing code.

    A checkpoint is copied to the host's memory, and a thread writes it from there while training goes on. It
    is complete before the next one is saved or one is loaded, and when :meth:`teardown` returns, which
    Lightning calls however a run ends; an error of the write is raised there.

    Lightning's own class writes to a temporary folder. If that is on another disk, the final move is a copy,
    which can be interrupted.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Start to write a checkpoint, and then a link to it, the path ``storage_options["link"]``."""
        self.teardown()
        link = (storage_options or {}).get("link")
        self._writing = self._thread.submit(_write, _copy_to_host(checkpoint), Path(path), link)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        self.teardown()
        return read_checkpoint(Path(path), map_location=map_location)

    def teardown(self) -> None:
        """Wait until the checkpoint is written that was saved last."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _write(checkpoint: dict[str, Any], path: Path, link: Path | None) -> None:
    with atomic_write(path) as file:
        torch.save(checkpoint, file)
    if link is not None:
        atomic_link(path, link)


def _copy_to_host(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy that training does not change, in page-locked memory if it comes from a GPU."""
    copied: dict[str, Any] = _start_copying(checkpoint)
    if torch.cuda.is_initialized():
        torch.cuda.current_stream().synchronize()
    return copied


def _start_copying(value: Any) -> Any:
    if isinstance(value, Tensor):
        tensor = value.detach()
        return tensor.to("cpu", non_blocking=True) if tensor.is_cuda else tensor.clone()
    if isinstance(value, dict):
        copied = copy(value)  # with attributes, such as the versions of the layers of a state_dict
        copied.update((key, _start_copying(item)) for key, item in value.items())
        return copied
    if type(value) in (list, tuple):
        return type(value)(_start_copying(item) for item in value)
    return value  # numbers and strings: others would not load without executing code


class LastAndBest(Checkpoint):
    """Saves ``last.pt`` after each epoch and ``best.pt`` if the epoch has a new best accuracy.

    An epoch whose validation loss is NaN or infinite is not saved and ends the run.

    Of equal epochs, the first one is the best. If ``best.pt`` is missing when a run is resumed, the best of
    the following epochs is kept. ``best.pt`` is written first: if the program is killed before ``last.pt`` is
    written, a resumed run repeats the epoch and writes the same ``best.pt`` again. Both are written while the
    next epoch trains (see :class:`AtomicCheckpointIO`). The end of the run waits for them, also after Ctrl-C
    and SIGTERM.

    Args:
        folder: folder of the checkpoints.
        selection: begins the names of the accuracy and of the loss.
    """

    def __init__(self, folder: Path, selection: str = "val") -> None:
        self.folder, self.monitor, self._loss = folder, f"{selection}_top1", f"{selection}_loss"
        self.best_score = float("-inf")
        self.best_epoch = 0  # counted from 1; 0 if there is none

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = float(trainer.callback_metrics[self._loss])  # equal on all ranks
        if not math.isfinite(loss):
            raise UserError(
                f"epoch {trainer.current_epoch + 1}: {self._loss} is {loss}, so training has diverged, and "
                "the epoch is not saved. Set a smaller optim.lr, more optim.warmup_epochs, "
                "trainer.gradient_clip_val=1 or trainer.precision=32-true. resume=auto continues after the "
                "last saved epoch"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Equal on all ranks, so all of them save or none.
        score = float(trainer.callback_metrics[self.monitor])
        with finished_first():
            if score > self.best_score:
                self.best_score, self.best_epoch = score, trainer.current_epoch + 1
                link = {"link": self.folder / LAST}
                trainer.save_checkpoint(self.folder / BEST, weights_only=False, storage_options=link)
            else:
                trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.strategy.checkpoint_io.teardown()
        trainer.strategy.barrier()  # then all ranks find both files

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (self.folder / BEST).is_file():
            self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]


def read_checkpoint(path: Path | str, map_location: Any = "cpu") -> dict[str, Any]:
    """Read an asl checkpoint, without executing code from it.

    Args:
        path: the file.
        map_location: device of the tensors, see :func:`torch.load`.

    Returns:
        Lightning's checkpoint, with the network's parameters in ``state_dict`` under the prefix ``model.``.
        Its key ``asl`` has what is needed to use the network, as plain values: ``glosses`` (by label),
        ``network`` (class of its settings), ``model`` (its name and architecture settings), ``sampling``
        (fields of :class:`Sampling`), the fields of :class:`Framing`, ``mean``, ``std``; ``epoch`` (number of
        finished epochs) and ``metrics``; and what :func:`~asl.training.identity.checkpoint_info` says about
        the run.

    Raises:
        CheckpointError: the file is missing, a folder, damaged, or not a checkpoint of asl.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name a checkpoint in it, as {path / BEST}")
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint. python train.py writes {BEST} and {LAST}, by default to checkpoints"
        )
    try:
        checkpoint = read_tensors(path, map_location)
    except WeightsError as error:
        raise CheckpointError(
            f"{error}. It is damaged, or no checkpoint: use another; {BEST} and {LAST} of a run can stand in "
            "for each other"
        ) from error
    if not isinstance(checkpoint, dict) or "asl" not in checkpoint:
        raise CheckpointError(
            f"{path} is not a checkpoint of asl. To start from these weights, use "
            f"{shell_override('model.weights', path)}"
        )
    return checkpoint


def restore_network(checkpoint: dict[str, Any]) -> nn.Module:
    """Build the network of a checkpoint and load its weights.

    Args:
        checkpoint: the result of :func:`read_checkpoint`.

    Returns:
        The network in evaluation mode: ``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``.

    Raises:
        CheckpointError: the module that defines the network cannot be imported.
    """
    info = checkpoint["asl"]
    network_class = info.get("network") or _FIRST_NETWORKS[info["model"]["name"]]
    try:
        module, _, name = network_class.rpartition(".")
        settings_class: type[NetworkSettings] = getattr(import_module(module), name)
    except Exception as error:  # importing a module can raise anything
        raise CheckpointError(
            f"the network {network_class} of this checkpoint cannot be imported ({error}). Put its module "
            "on the Python path"
        ) from error
    settings = settings_class(**{key: value for key, value in info["model"].items() if key != "name"})
    network = settings.build(len(info["glosses"]))
    prefix = "model."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    network.load_state_dict(state)
    return network.eval()


def checkpoint_to_resume(resume: str | None, folder: Path, *, first_rank: bool = True) -> Path | None:
    """Return the checkpoint from which to resume. None for a new run.

    Args:
        resume: a file, ``auto`` (``last.pt`` of the folder, if it exists) or None.
        folder: folder of the run's checkpoints.
        first_rank: whether this is the rank that writes checkpoints. Others do not look for earlier ones in
            ``folder``: the first rank may have copied ``resume`` to it (see :func:`copy_checkpoints`).

    Raises:
        CheckpointError: there is no such file, or the run would overwrite checkpoints of an earlier run.
    """
    last = folder / LAST
    if resume == "auto":
        return last if last.is_file() else None
    if resume is not None and not Path(resume).is_file():
        raise CheckpointError(
            f"resume={resume}: no such checkpoint. Other values: auto (resume from {last} if it exists), "
            "null (start a new run)"
        )
    resumes_here = resume is not None and Path(resume).resolve().parent == folder.resolve()
    earlier = [str(folder / name) for name in (LAST, BEST) if (folder / name).is_file()]
    if earlier and not resumes_here and first_rank:
        resume_it = "resume that run with resume=auto, or " if last.is_file() else ""
        raise CheckpointError(
            f"{' and '.join(earlier)} of an earlier run would be overwritten. To keep them, {resume_it}"
            "choose another folder with paths.checkpoint_dir=..., or move them away"
        )
    return Path(resume) if resume is not None else None


def copy_checkpoints(resume_from: Path, folder: Path, *, epoch: int) -> None:
    """Copy a checkpoint and ``best.pt`` beside it into the folder of the run that resumes from it.

    Without ``best.pt``, a worse epoch of the resumed run would become the best one. The checkpoint becomes
    ``last.pt``: if the run ends before its first epoch does, ``resume=auto`` resumes it all the same.

    Args:
        resume_from: the checkpoint from which the run is resumed.
        folder: folder of the resumed run's checkpoints. If it is the same one, ``best.pt`` is only checked.
        epoch: number of finished epochs in ``resume_from``.

    Raises:
        CheckpointError: ``best.pt`` is damaged, or is of a later epoch than ``resume_from``.
    """
    best_file, is_elsewhere = resume_from.with_name(BEST), resume_from.parent.resolve() != folder.resolve()
    if best_file.is_file():
        try:
            best = read_checkpoint(best_file)["asl"]["epoch"]
        except CheckpointError as error:
            raise CheckpointError(
                f"{best_file}, the best epoch so far, is damaged or of something else. Move it away; then "
                "the best of the following epochs is kept"
            ) from error
        if best > epoch + 1:  # + 1: killed before it wrote last.pt, it repeats that epoch
            raise CheckpointError(
                f"{resume_from} is of epoch {epoch}, and {best_file} beside it is of epoch {best}: the best "
                f"epoch up to {epoch} no longer exists. Resume from {best_file.with_name(LAST)}, or start a "
                f"new run from these weights: {shell_override('model.weights', resume_from)}"
            )
        if is_elsewhere:
            atomic_copy(best_file, folder / BEST)
    if is_elsewhere:
        atomic_copy(resume_from, folder / LAST)
