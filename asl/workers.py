"""Work on untrusted files in processes: a time limit each, and a crash costs one task.

Decoders hang and crash on bad files. Pebble kills the worker that runs too long and replaces the
one that died; the other tasks go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from asl.machine import available_cores

#: What workers need sooner or later; on many cores, each importing it for itself takes seconds.
_PRELOADED = ["__main__", "asl.preprocess.clips.cut", "PIL.JpegImagePlugin", "safetensors.numpy"]

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Task, Result]):
    """A task and what it returned."""

    task: Task
    result: Result


@dataclass(frozen=True)
class Failed(Generic[Task]):
    """A task that raised, took too long, or took its worker down with it."""

    task: Task
    error: BaseException | None  # what it raised; None: it was killed or crashed
    message: str
    reason: str  # "time limit", "crash" or "error"


class Workers:
    """Worker processes that serve one step after another; a context, which starts and ends them.

    Args:
        count: how many; None: one a core.
        nice: how much they leave the processor to others, see ``os.nice``.
    """

    def __init__(self, count: int | None = None, *, nice: int = 0) -> None:
        # Not fork: the parent has threads (progress bar), and a forked child would inherit their locks.
        # A server without threads is forked instead, which has imported once what every worker needs.
        forkserver = multiprocessing.get_context("forkserver")
        forkserver.set_forkserver_preload(_PRELOADED)
        self.count = count or available_cores()
        self._pool = ProcessPool(
            max_workers=self.count, context=forkserver, initializer=_begin, initargs=[nice]
        )

    def __enter__(self) -> Workers:
        self._pool.schedule(_nothing)  # start them now, while the parent reads its metadata
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.stop()
        self._pool.join()

    def run_each(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], *, timeout_s: float | None = None
    ) -> Iterator[Done[Task, Result] | Failed[Task]]:
        """Call ``function`` on each task, from now on; yields each as soon as it ends.

        Args:
            function: importable by name, as worker processes are started afresh.
            tasks: picklable.
            timeout_s: a task that takes longer is killed with its worker.
        """
        task_of: dict[Future[Result], Task] = {
            self._pool.schedule(function, args=[task], timeout=timeout_s): task for task in tasks
        }
        return _results(task_of, timeout_s)

    def run_lazily(
        self,
        function: Callable[[Task], Result],
        tasks: Iterator[Task],
        *,
        ahead: int,
        timeout_s: float | None = None,
    ) -> Iterator[Done[Task, Result] | Failed[Task]]:
        """The same for tasks that are decided on late: only ``ahead`` of them are taken before one ends."""
        task_of: dict[Future[Result], Task] = {}

        def take() -> None:
            while len(task_of) < ahead and (task := next(tasks, None)) is not None:
                task_of[self._pool.schedule(function, args=[task], timeout=timeout_s)] = task

        try:
            take()
            while task_of:
                done, _ = wait(task_of, return_when=FIRST_COMPLETED)
                ended = [_ended(future, task_of.pop(future), timeout_s) for future in done]
                take()
                yield from ended
        finally:
            for future in task_of:
                future.cancel()


def run_each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
) -> Iterator[Done[Task, Result] | Failed[Task]]:
    """The same with workers of its own, one a core by default, no more than there are tasks."""
    if not tasks:
        return
    with Workers(min(workers or available_cores(), len(tasks))) as pool:
        yield from pool.run_each(function, tasks, timeout_s=timeout_s)


def _results(
    task_of: dict[Future[Result], Task], timeout_s: float | None
) -> Iterator[Done[Task, Result] | Failed[Task]]:
    try:
        for future in as_completed(task_of):
            yield _ended(future, task_of[future], timeout_s)
    finally:
        for future in task_of:  # a no-op where all is done
            future.cancel()


def _ended(future: Future[Result], task: Task, timeout_s: float | None) -> Done[Task, Result] | Failed[Task]:
    error = future.exception()
    if error is None:
        return Done(task, future.result())
    if isinstance(error, FutureTimeoutError):
        return Failed(task, None, f"took longer than {timeout_s:g} s", "time limit")
    if isinstance(error, ProcessExpired):
        return Failed(task, None, f"crashed the decoder (exit code {error.exitcode})", "crash")
    return Failed(task, error, f"{type(error).__name__}: {error}", "error")


def _nothing() -> None:
    """What starts the workers."""


def _begin(nice: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, so that it is told of once
    os.nice(nice)
