"""Keep compiled steps beside the checkpoints, so that a later start does not compile again.

PyTorch's own cache is in the machine's temporary folder, which a cluster empties between jobs.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch._dynamo.utils import counters

from asl.files import atomic_write

COMPILED = "compiled.bin"

_log = logging.getLogger(__name__)


class CompileCache(Callback):
    """Reads ``compiled.bin`` before the first step, and writes it after an epoch that compiled something.

    PyTorch uses an entry only for the same graph, PyTorch version and kind of GPU. The file holds code that
    is executed.

    Args:
        folder: folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / COMPILED
        self._saved = 0  # number of graphs that had been compiled when the file was written

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not getattr(pl_module, "compiled", False) or not self._path.is_file():
            return
        torchs_log = logging.getLogger("torch.compiler._cache")
        level = torchs_log.level
        torchs_log.setLevel(logging.ERROR)  # it logs a traceback
        try:
            read = torch.compiler.load_cache_artifacts(self._path.read_bytes())
        finally:
            torchs_log.setLevel(level)
        if read is None:  # damaged, or of a version with another format
            _log.warning("%s cannot be read, so the network is compiled again", self._path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        compiled = _num_compiled()
        if not trainer.is_global_zero or compiled == self._saved:
            return
        self._saved = compiled
        artifacts = torch.compiler.save_cache_artifacts()
        if artifacts is not None:
            with atomic_write(self._path, sync=False) as file:
                file.write(artifacts[0])


def _num_compiled() -> int:
    """Number of graphs that this process compiled, those from the cache not counted."""
    return counters["inductor"]["fxgraph_cache_miss"]
