"""Ctrl-C and SIGTERM: a run ends at once, but not while it writes a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from asl.errors import Terminated

_EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}

#: Environment variable with the id of the process that starts the other ranks of this machine.
_FIRST_RANK = "ASL_FIRST_RANK_PID"


class Interruption(Callback):
    """Ends a run with KeyboardInterrupt after Ctrl-C (SIGINT), and with Terminated after SIGTERM.

    Lightning ends a run with exit code 1 after Ctrl-C. After SIGTERM it goes on to the end of the step and
    exits with code 0; on several devices its handler waits for the other ranks, which may wait for this one.

    If the first rank has started the other ones, it ends the run for all: they pass a signal on to it and
    wait to be killed, so that one message is printed, whichever rank got the signal. A signal during their
    start waits until they can do so.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._ending = False  # further signals are ignored: they would interrupt the ending
        self._other_ranks: list[Popen[Any]] = []  # to be killed
        parent = os.getppid()
        self._first_rank = parent if os.environ.get(_FIRST_RANK) == str(parent) else None

    @contextmanager
    def handled(self, trainer: pl.Trainer) -> Iterator[None]:
        """Context manager around a run that handles signals.

        Outside of the main thread, where Python allows no handlers, it changes nothing.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            Terminated: after SIGTERM.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if self._first_rank is None:
            os.environ[_FIRST_RANK] = str(os.getpid())  # Lightning's processes inherit it
            _start_other_ranks_blocked(trainer.strategy.launcher)
        previous = {signum: signal.signal(signum, self._handle) for signum in _EXCEPTIONS}
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _EXCEPTIONS)  # blocked since another rank was started
            yield
        except BaseException:  # also SystemExit of Lightning, and errors of what was interrupted
            if self._received is None:
                raise
            self._begin_ending(trainer)
            for process in self._other_ranks:
                process.kill()
            raise _EXCEPTIONS[self._received] from None
        finally:
            os.environ.pop(_FIRST_RANK, None)
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._replace_handler_of_lightning()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._replace_handler_of_lightning()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._raise_if_swallowed()

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._raise_if_swallowed()

    def on_test_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._raise_if_swallowed()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self._received is not None:
            self._begin_ending(trainer)

    def _begin_ending(self, trainer: pl.Trainer) -> None:
        """Ignore further signals, and take the processes of other ranks from Lightning.

        They are killed after Lightning has torn down this rank, which may wait for them. Its observer would
        kill this process when it finds them killed.
        """
        self._ending = True
        processes = getattr(trainer.strategy.launcher, "procs", [])
        self._other_ranks += processes
        processes.clear()

    def _raise_if_swallowed(self) -> None:
        """Raise the exception of a signal again: in a ``__del__``, Python prints it and goes on."""
        if self._received is not None and not self._ending:
            raise _EXCEPTIONS[self._received]

    def _replace_handler_of_lightning(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._first_rank is not None and self._first_rank == os.getppid():
            os.kill(self._first_rank, signum)
        elif not self._ending:
            self._received = signal.Signals(signum)
            raise _EXCEPTIONS[self._received]


def _start_other_ranks_blocked(launcher: Any) -> None:
    """Make a launcher start the other ranks with SIGINT and SIGTERM blocked.

    A rank that such a signal ends before it has a handler makes Lightning kill the first one. Lightning has
    no public hook around the start of its processes, so this replaces a method of the launcher.
    """
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    start = launcher._call_children_scripts

    def start_blocked() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _EXCEPTIONS)  # processes inherit it
        try:
            start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _EXCEPTIONS)

    launcher._call_children_scripts = start_blocked  # type: ignore[method-assign]


@contextmanager
def finished_first() -> Iterator[None]:
    """Context manager around work that Ctrl-C and SIGTERM do not interrupt: they take effect at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        received.append(signum)

    previous: dict[signal.Signals, Any] = {signum: signal.signal(signum, note) for signum in _EXCEPTIONS}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
        if received:
            signal.raise_signal(received[0])
