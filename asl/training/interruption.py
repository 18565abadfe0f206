"""Ctrl-C, signals and ranks that die: a run ends at once, but not while it writes a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from asl.errors import Terminated, UserError
from asl.training.ranks import exchange_has_failed, is_lost_connection, requeue_job

_EXCEPTIONS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
_PREEMPTION = signal.SIGUSR1  # what SLURM is asked to send some time before it ends a job
_HANDLED = {*_EXCEPTIONS, _PREEMPTION}

#: Environment variable with the id of the process that starts the other ranks of this machine.
_FIRST_RANK = "ASL_FIRST_RANK_PID"

_NO_ANSWER = "another rank does not answer within trainer.timeout_s, or has died"
_POLL_S = 0.5
_GRACE_S = 10.0  # in which a rank notices itself that another one has died


class RankError(UserError):
    """Another rank has died, does not answer, or cannot be met."""


class Interruption(Callback):
    """Ends a run with KeyboardInterrupt after Ctrl-C (SIGINT), and with Terminated after SIGTERM.

    Lightning ends a run with exit code 1 after Ctrl-C. After SIGTERM it goes on to the end of the step and
    exits with code 0; on several devices its handler waits for the other ranks, which may wait for this one.

    After SIGUSR1 the run ends with the epoch that it is training, whichever rank got it. If SIGTERM comes
    first, the time is up, and it ends at once. In a SLURM job the first rank then requeues the job. After
    SIGTERM alone it does not: so ``scancel`` ends a job, and a SLURM that preempts jobs requeues them itself.

    If the first rank has started the other ones, it ends the run for all: they pass a signal on to it and
    wait to be killed, so that one message is printed, whichever rank got the signal. A signal during their
    start waits until they can do so. A rank that dies ends all, also those that wait for it in an exchange.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._preempted = False  # this rank, or at the end of an epoch another one, has received SIGUSR1
        self._last_epoch = False  # all ranks know it and end with this epoch
        self._requeued = False
        self._ending = False  # further signals raise nothing: they would interrupt the ending
        self._other_ranks: list[Popen[Any]] = []  # started by this one
        first = os.environ.get(_FIRST_RANK)  # it may have died since it started this process
        self._first_rank = None if first is None else int(first)

    @contextmanager
    def handled(self, trainer: pl.Trainer) -> Iterator[None]:
        """Context manager around a run that handles signals and watches the other ranks of this machine.

        Outside of the main thread, where Python allows no handlers, it changes nothing.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            Terminated: after SIGTERM.
            RankError: another rank has died, does not answer, or cannot be met.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if self._first_rank is None:
            os.environ[_FIRST_RANK] = str(os.getpid())  # Lightning's processes inherit it
            _start_other_ranks_blocked(trainer.strategy.launcher, self._other_ranks)
        previous = {signum: signal.signal(signum, self._handle) for signum in _HANDLED}
        hook, sys.unraisablehook = sys.unraisablehook, _without_interruptions(sys.unraisablehook)
        done = threading.Event()
        threading.Thread(target=self._watch_ranks, args=(trainer, done), daemon=True).start()
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)  # blocked since another rank was started
            yield
        except BaseException as error:  # also SystemExit of Lightning, and errors of what was interrupted
            self._ending = True
            lost = self._received is None and is_lost_connection(error)
            dead = self._wait_for_dead_rank() if lost else self._dead_rank()
            for process in self._other_ranks:
                process.kill()
            if self._received is not None:
                if self._preempted and not self._requeued:
                    self._requeue(trainer)
                    if not trainer.is_global_zero:
                        time.sleep(_GRACE_S)  # srun kills the first rank, which requeues, when this one ends
                raise _EXCEPTIONS[self._received] from None
            if lost and "EADDRINUSE" in str(error):
                raise RankError(
                    f"port {os.environ['MASTER_PORT']} of this machine, at which the ranks meet, is in use, "
                    "such as by another run. Set another MASTER_PORT, or none"
                ) from error
            if lost or (dead and not isinstance(error, UserError)):
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise RankError(_explain(trainer, dead or f"{_NO_ANSWER} ({reason})")) from error
            raise
        finally:
            done.set()
            os.environ.pop(_FIRST_RANK, None)
            sys.unraisablehook = hook
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def raise_if_preempted(self, trainer: pl.Trainer) -> None:
        """Raise Terminated if SIGUSR1 has ended the run before its last epoch."""
        if self._last_epoch and trainer.current_epoch < (trainer.max_epochs or 0):
            self._requeue(trainer)
            trainer.strategy.barrier()  # srun kills the first rank when another one has ended
            self._received = signal.SIGTERM
            raise Terminated

    def _requeue(self, trainer: pl.Trainer) -> None:
        """Requeue the job, if this is the first rank."""
        self._requeued = True
        if trainer.is_global_zero:
            requeue_job()

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

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last_epoch = trainer.strategy.reduce_boolean_decision(self._preempted, all=False)
        if self._last_epoch:
            self._preempted = trainer.should_stop = True
            pl_module.print("SIGUSR1: the run ends with this epoch")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self._received is not None:
            self._ending = True

    def _raise_if_swallowed(self) -> None:
        """Raise the exception of a signal again: in a ``__del__``, Python does not pass it on."""
        if self._received is not None and not self._ending:
            raise _EXCEPTIONS[self._received]

    def _replace_handler_of_lightning(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum == _PREEMPTION:
            self._preempted = True
        elif self._first_rank is not None and self._first_rank == os.getppid():
            os.kill(self._first_rank, signum)
        else:
            self._received = self._received or signal.Signals(signum)
            if not self._ending:
                raise _EXCEPTIONS[self._received]

    def _dead_rank(self) -> str | None:
        """How a rank that this one started, or the one that started this one, has died. None if none has."""
        if self._first_rank is not None:
            return "rank 0 has ended" if os.getppid() != self._first_rank else None
        codes = {rank: process.poll() for rank, process in enumerate(self._other_ranks, start=1)}
        # A rank that was killed is the cause of the errors of others.
        for rank, code in sorted(codes.items(), key=lambda item: (item[1] or 0) > 0):
            if code is not None and code < 0:
                return f"rank {rank} was killed by {signal.Signals(-code).name} (signal {-code})"
            if code:
                return f"rank {rank} ended with exit code {code}; its error is above"
        return None

    def _wait_for_dead_rank(self) -> str | None:
        """The result of :meth:`_dead_rank`, which may come a moment after the connection is lost."""
        begin = time.monotonic()
        while (dead := self._dead_rank()) is None and time.monotonic() - begin < _GRACE_S:
            time.sleep(_POLL_S)
        return dead

    def _watch_ranks(self, trainer: pl.Trainer, done: threading.Event) -> None:
        """End this process if another rank has died or hangs, and this one does not notice.

        It waits on the device then. torch would end it with SIGABRT, one minute after the time limit of an
        exchange (four times TORCH_NCCL_WAIT_TIMEOUT_DUMP_MILSEC in ProcessGroupNCCL.cpp).
        """
        while not done.wait(_POLL_S):
            if self._dead_rank() is None and not exchange_has_failed():
                continue
            if done.wait(2 * _GRACE_S) or self._ending:
                return
            what = self._dead_rank() or _NO_ANSWER
            print(f"error: {_explain(trainer, what)}", file=sys.stderr, flush=True)
            with suppress(Exception):
                trainer.strategy.checkpoint_io.teardown()
            for process in self._other_ranks:
                process.kill()
            os._exit(1)


def _explain(trainer: pl.Trainer, what: str) -> str:
    return (
        f"{what}. The {trainer.world_size} ranks can only go on together. resume=auto continues after the "
        "last finished epoch"
    )


def _start_other_ranks_blocked(launcher: Any, started: list[Popen[Any]]) -> None:
    """Make a launcher start the other ranks with signals blocked, and hand over their processes.

    A rank that a signal ends before it has a handler makes Lightning kill the first one. So would its
    observer, which is left without processes: :class:`Interruption` watches them. Lightning has no public
    hook around the start of its processes, so this replaces a method of the launcher.

    Args:
        launcher: of any kind; other ones are left as they are.
        started: the processes are added to it.
    """
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    start = launcher._call_children_scripts

    def start_blocked() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)  # processes inherit it
        try:
            start()
        finally:
            started.extend(launcher.procs)
            launcher.procs = []
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)

    launcher._call_children_scripts = start_blocked  # type: ignore[method-assign]


def _without_interruptions(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    """A ``sys.unraisablehook`` that does not print an interruption, which the next batch raises again."""

    def call_hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)

    return call_hook


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
