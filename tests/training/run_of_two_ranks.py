"""Training runs of two ranks on CPUs, in which rank 1 may send a signal to itself.

    python run_of_two_ranks.py data_folder signal epoch checkpoint_folder ...

A run for each folder, one after the other; it resumes what is there. The epoch, counted from 1, is that in
whose first step the signal comes.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from test_run import tiny

from asl.errors import Terminated, UserError
from asl.training.run import train

EPOCHS = 4


class SignalInRank1(pl.Callback):
    """Sends a signal in the first step of an epoch."""

    def __init__(self, signum: int, epoch: int) -> None:
        self.signum, self.epoch = signum, epoch

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, index: int) -> None:
        if trainer.global_rank == 1 and (trainer.current_epoch + 1, index) == (self.epoch, 0):
            os.kill(os.getpid(), self.signum)


def main(data: str, signum: str, epoch: str, *folders: str) -> None:
    keys = ["trainer.devices=2", f"trainer.max_epochs={EPOCHS}", "logger=[]", "optim.ema_decay=0.9"]
    try:
        for folder in folders:
            config = tiny(Path(data), Path(folder), *keys, "resume=auto")
            train(config, callbacks=[SignalInRank1(int(signum), int(epoch))])
    except UserError as error:
        sys.exit(f"error: {error}")
    except Terminated:
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
