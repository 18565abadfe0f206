"""Work on untrusted files in processes: a time limit each, and a crash costs one task.

Decoders hang and crash on bad files. Pebble kills the worker that runs too long and replaces the
one that died; the other tasks go on.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from asl.machine import available_cores

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


def run_each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
) -> Iterator[Done[Task, Result] | Failed[Task]]:
    """Call ``function`` on each task in worker processes; yields each as soon as it ends.

    Args:
        function: importable by name, as worker processes are started afresh.
        tasks: picklable.
        workers: processes; None: one a core.
        timeout_s: a task that takes longer is killed with its worker.
    """
    if not tasks:
        return
    count = min(workers or available_cores(), len(tasks))
    # Not fork: the parent has threads (progress bar), and a forked child would inherit their locks.
    pool = ProcessPool(max_workers=count, context=multiprocessing.get_context("spawn"), initializer=_quiet)
    try:
        task_of: dict[Future[Result], Task] = {
            pool.schedule(function, args=[task], timeout=timeout_s): task for task in tasks
        }
        for future in as_completed(task_of):
            task = task_of[future]
            error = future.exception()
            if error is None:
                yield Done(task, future.result())
            elif isinstance(error, FutureTimeoutError):
                yield Failed(task, None, f"took longer than {timeout_s:g} s", "time limit")
            elif isinstance(error, ProcessExpired):
                yield Failed(task, None, f"crashed the decoder (exit code {error.exitcode})", "crash")
            else:
                yield Failed(task, error, f"{type(error).__name__}: {error}", "error")
    finally:
        pool.stop()  # a no-op where all is done; on Ctrl-C it ends the workers
        pool.join()


def _quiet() -> None:
    """Leave Ctrl-C to the parent, so that it is told of once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
