"""``last.pt`` after every epoch, ``best.pt`` at the best ``val_top1``; whole at any moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from torch import nn

from asl.data.sampling import Sampling
from asl.data.settings import DataSettings
from asl.data.transforms import KINETICS_MEAN, KINETICS_STD
from asl.errors import UserError
from asl.files import atomic_copy, atomic_link, atomic_write
from asl.model.networks.base import NetworkSettings
from asl.model.weights import read_tensors

LAST, BEST = "last.pt", "best.pt"

#: The networks of checkpoints of the first version, which have their name only.
_FIRST_NETWORKS = {
    "r2plus1d": "asl.model.networks.r2plus1d.R2Plus1D",
    "r3d": "asl.model.networks.r3d.R3D",
    "mc3": "asl.model.networks.mc3.MC3",
}
MONITOR = "val_top1"


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, in the way, or of another run."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints atomically and reads them without executing code.

    Lightning itself writes to a temporary folder, which may lie on another disk, where a rename is a copy
    that can be cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location=map_location)


class LastAndBest(Checkpoint):
    """Saves ``last.pt`` after every epoch and ``best.pt`` at a new best ``val_top1``.

    The first of equal epochs stays the best one. ``best.pt`` goes first: if the program dies between
    the two, the epoch is repeated from ``last.pt`` and writes the same ``best.pt`` again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best_score = float("-inf")
        self.best_epoch = 0  # counted from 1; 0: none yet

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = float(trainer.callback_metrics[MONITOR])  # the same on all ranks, so all save or none
        if score > self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch + 1
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)  # optimiser and all
            if trainer.is_global_zero:
                atomic_link(self.folder / BEST, self.folder / LAST)
        else:
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """An asl checkpoint. Its key ``asl`` holds all that is needed to use it alone, as plain values.

    ``glosses`` (a list, by label), ``network`` (the class of its settings), ``model`` (its name and those of
    its settings that decide the function), ``sampling`` (the fields of :class:`Sampling`), ``resize``,
    ``crop_size``, ``seed``, ``mean``, ``std``, ``dataset``, ``epoch`` (finished ones), ``metrics``;
    ``state_dict`` has the network's parameters under ``model.``.

    Raises:
        UserError: no such file, damaged, or not a checkpoint of asl.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    checkpoint = read_tensors(path, map_location)
    if not isinstance(checkpoint, dict) or "asl" not in checkpoint:
        raise CheckpointError(
            f"{path} is not a checkpoint of asl. Weights to start from go to model.weights={path}"
        )
    return checkpoint


def portable_settings(
    *, dataset: str, glosses: Sequence[str], network: NetworkSettings, data: DataSettings, seed: int
) -> dict[str, Any]:
    """The content of ``asl`` in a checkpoint, but for epoch and metrics: numbers, strings and lists."""
    return {
        "dataset": dataset,
        "glosses": list(glosses),
        "network": f"{type(network).__module__}.{type(network).__qualname__}",
        "model": {"name": network.name, **network.architecture()},
        "sampling": {field.name: getattr(data, field.name) for field in dataclasses.fields(Sampling)},
        "resize": list(data.resize),
        "crop_size": data.crop_size,
        "seed": seed,
        "mean": list(KINETICS_MEAN),
        "std": list(KINETICS_STD),
    }


def restore_network(checkpoint: dict[str, Any]) -> nn.Module:
    """The network of a checkpoint, with its weights, in evaluation mode.

    Raises:
        CheckpointError: the module that defines the network cannot be imported.
    """
    about = checkpoint["asl"]
    network_class = about.get("network") or _FIRST_NETWORKS[about["model"]["name"]]
    try:
        settings_class: type[NetworkSettings] = get_class(network_class)
    except Exception as error:  # whatever importing a module can raise
        raise CheckpointError(
            f"the network {network_class} of this checkpoint cannot be imported ({error}). Put its module "
            "on the Python path"
        ) from error
    settings = settings_class(**{key: value for key, value in about["model"].items() if key != "name"})
    network = settings.build(len(about["glosses"]))
    prefix = "model."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    network.load_state_dict(state)
    return network.eval()


def checkpoint_to_resume(resume: str | None, folder: Path) -> Path | None:
    """Where to go on from, None to start afresh.

    Args:
        resume: a file, ``auto`` (``last.pt`` of the folder if it is there) or None.
        folder: where this run keeps its checkpoints.

    Raises:
        CheckpointError: no such file, or a fresh start over an earlier run's ``last.pt``.
    """
    last = folder / LAST
    if resume == "auto":
        return last if last.is_file() else None
    if resume is not None and not Path(resume).is_file():
        raise CheckpointError(
            f"resume={resume}: no such checkpoint. Known besides a file: auto (goes on from {last} if it "
            "is there), null (starts afresh)"
        )
    within = resume is not None and Path(resume).resolve().parent == folder.resolve()
    if last.is_file() and not within:
        raise CheckpointError(
            f"{last} is there already, from an earlier run, and would be overwritten. Go on with it: "
            f"resume=auto. Otherwise choose another folder: paths.checkpoint_dir=..., or move {last} away"
        )
    return Path(resume) if resume is not None else None


def check_same_run(checkpoint: dict[str, Any], path: Path, portable: dict[str, Any]) -> None:
    """Refuse to resume a run whose classes or network are others.

    Raises:
        CheckpointError: naming what differs.
    """
    theirs, ours = checkpoint["asl"], portable
    # Checkpoints of the first version have no name for a class without clips.
    named = [a or b for a, b in zip(theirs["glosses"], ours["glosses"], strict=False)]
    if len(theirs["glosses"]) != len(ours["glosses"]) or named != ours["glosses"]:
        pairs = zip(theirs["glosses"], ours["glosses"], strict=False)
        label, pair = next(
            ((i, p) for i, p in enumerate(pairs) if p[0] != p[1]),
            (min(len(theirs["glosses"]), len(ours["glosses"])), ("nothing", "another gloss")),
        )
        raise CheckpointError(
            f"{path} was trained with another label map: {len(theirs['glosses'])} glosses there, "
            f"{len(ours['glosses'])} in the label map now; label {label} is {pair[0]!r} there, {pair[1]!r} "
            "now. Resume with the data set it was trained on, or start afresh with another "
            f"paths.checkpoint_dir (its weights can still be used: model.weights={path})"
        )
    differing = difference({"model": theirs["model"]}, {"model": ours["model"]})
    if differing:
        raise CheckpointError(
            f"{path} holds another network: {', '.join(differing)}. Set these keys as they are there"
        )


def changed_settings(checkpoint: dict[str, Any], portable: dict[str, Any]) -> list[str]:
    """What a resumed run sees differently than before: ``data.frame_stride=2 there, 3 now``. Allowed."""

    def seen(about: dict[str, Any]) -> dict[str, Any]:
        data = {**about["sampling"], "resize": about["resize"], "crop_size": about["crop_size"]}
        return {"data": data, "seed": about["seed"]}

    return difference(seen(checkpoint["asl"]), seen(portable))


def difference(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys of ``ours`` whose value is another one in ``theirs``, as ``key=value there, value now``."""
    lines = []
    for name, value in ours.items():
        if isinstance(value, dict):
            lines += difference(theirs.get(name, {}), value, f"{prefix}{name}.")
        elif name in theirs and theirs[name] != value:
            lines.append(f"{prefix}{name}={theirs[name]} there, {value} now")
    return lines


def adopt_best(resume_from: Path, folder: Path, *, epoch: int) -> None:
    """A run that goes on in another folder takes its ``best.pt`` along, or a worse epoch would become it.

    Args:
        resume_from: the checkpoint from which the run goes on.
        folder: where it keeps its own.
        epoch: of ``resume_from``.

    Raises:
        CheckpointError: it is damaged, or of a later epoch, so that the best one up to there is not kept.
    """
    theirs, ours = resume_from.with_name(BEST), folder / BEST
    if not theirs.is_file():
        return
    try:
        best = read_checkpoint(theirs)["asl"]["epoch"]
    except UserError as error:
        raise CheckpointError(
            f"{theirs}, the best epoch so far, is of no use ({error}). Move it away; then the best one from "
            "here on is kept"
        ) from error
    if best > epoch + 1:  # one later: the program died before that epoch's last.pt, and repeats it
        raise CheckpointError(
            f"{resume_from} is of epoch {epoch}, and {theirs} beside it is of epoch {best}: the best epoch "
            f"up to {epoch} is not kept. Go on from {theirs.with_name(LAST)}, or start afresh from these "
            f"weights: model.weights={resume_from}"
        )
    if theirs.resolve() != ours.resolve():
        atomic_copy(theirs, ours)
