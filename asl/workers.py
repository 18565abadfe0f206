"""Run functions on untrusted files in worker processes with a per-task timeout; a crash fails only its task.

Decoders hang and crash on damaged files. Pebble kills a worker that runs too long and replaces one
that died; the other tasks continue.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from threading import Thread
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired

from asl.errors import UserError
from asl.machine import available_cores, lower_priority, worker_context
from asl.process_pool import ProcessPool

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Task, Result]):
    """A task and what it returned."""

    task: Task
    result: Result


@dataclass(frozen=True)
class Failed(Generic[Task]):
    """A task that raised an exception, exceeded its time limit, or crashed its worker."""

    task: Task
    error: BaseException | None  # what it raised; None if it was killed or crashed
    message: str
    reason: str  # "time limit", "crash" or "error"


class Workers:
    """A pool of worker processes, shared by several steps. Use it as a context manager.

    Args:
        count: number of processes; None: one per core.
        nice: niceness added to the workers', see :func:`os.nice`.
        preload: names of modules that every worker needs. They are imported once instead of once per
            worker where the system allows it, see :func:`asl.machine.worker_context`.
        required: whether UserError is raised when processes cannot start, or are killed while they take a
            task or send a result. Otherwise each task is Failed.
    """

    def __init__(
        self,
        count: int | None = None,
        *,
        nice: int = 0,
        preload: Sequence[str] = (),
        required: bool = True,
    ) -> None:
        self.count, self.required = count or available_cores(), required
        self._ending: Thread | None = None
        self._pool = ProcessPool(
            self.count,
            context=worker_context(preload),
            initializer=_initialize_worker,
            initargs=[nice],
        )

    def __enter__(self) -> Workers:
        self._pool.schedule(_do_nothing)  # starts the processes now, while the parent does other things
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the processes, and wait until they have ended."""
        self.stop()
        if self._ending is not None:
            self._ending.join()

    def stop(self) -> None:
        """Begin to end the processes, which may take a second. No task can be started any more."""
        if self._ending is None:
            self._pool.stop()
            self._ending = Thread(target=self._pool.join)
            self._ending.start()

    def run_each(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], *, timeout_s: float | None = None
    ) -> Iterator[Done[Task, Result] | Failed[Task]]:
        """Start ``function`` on each task at once; yields their results in the order in which they end.

        Args:
            function: importable by name; workers do not share the parent's memory.
            tasks: picklable.
            timeout_s: time limit of a task; its worker is killed and replaced. None: no limit.

        Raises:
            UserError: the processes cannot start, or were killed.
        """
        task_of = {self.schedule(function, task, timeout_s=timeout_s): task for task in tasks}
        return self._results(task_of, timeout_s)

    def run_lazily(
        self,
        function: Callable[[Task], Result],
        tasks: Iterator[Task],
        *,
        ahead: int,
        timeout_s: float | None = None,
    ) -> Iterator[Done[Task, Result] | Failed[Task]]:
        """Like :meth:`run_each`, but draws tasks from an iterator, at most ``ahead`` more than have ended."""
        with RunningTasks() as running:
            while True:
                while len(running) < ahead and (task := next(tasks, None)) is not None:
                    running.start(self, function, task, timeout_s=timeout_s)
                if not len(running):
                    return
                yield from (ended for _, ended in running.next())

    async def run(
        self, function: Callable[[Task], Result], task: Task, *, timeout_s: float | None = None
    ) -> Done[Task, Result] | Failed[Task]:
        """Like :meth:`run_each` for one task, for a coroutine to wait for."""
        future = self.schedule(function, task, timeout_s=timeout_s)
        ended = asyncio.wrap_future(future)
        await asyncio.wait([ended])
        ended.exception()  # or asyncio would log one as never retrieved
        return self.ended(future, task, timeout_s)

    def schedule(
        self, function: Callable[[Task], Result], task: Task, *, timeout_s: float | None
    ) -> Future[Result]:
        """Start one task. Use :class:`RunningTasks`, which says how it ended."""
        content = pickle.dumps((function, task))  # here, where it is an error of the caller if it cannot be
        try:
            future: Future[Result] = self._pool.schedule(_call, args=[content], timeout=timeout_s)
            return future
        except RuntimeError as error:  # pebble's for a pool that was stopped, or has broken
            if self._ending is not None:
                raise
            failed: Future[Result] = Future()
            failed.set_exception(BrokenProcessPool(str(error)))
            return failed

    def ended(
        self, future: Future[Result], task: Task, timeout_s: float | None
    ) -> Done[Task, Result] | Failed[Task]:
        """How a task has ended, from the future that :meth:`schedule` has returned for it.

        Raises:
            UserError: the processes cannot start, or were killed.
        """
        error = future.exception()
        if error is None:
            return Done(task, future.result())
        if isinstance(error, FutureTimeoutError):
            return Failed(task, None, f"took longer than {timeout_s:g} s", "time limit")
        if isinstance(error, ProcessExpired):
            return Failed(task, None, f"crashed the decoder (exit code {error.exitcode})", "crash")
        if isinstance(error, BrokenProcessPool) and self.required:
            if self._pool.has_begun:
                raise UserError(
                    f"processes that decode videos were killed, as the system does where memory is short "
                    f"({error}). Run it again"
                ) from None
            raise UserError(
                "the processes that decode videos cannot start. In a script, put your own code under "
                'if __name__ == "__main__":, because each process imports the script'
            ) from None
        return Failed(task, error, f"{type(error).__name__}: {error}", "error")

    def _results(
        self, task_of: dict[Future[Result], Task], timeout_s: float | None
    ) -> Iterator[Done[Task, Result] | Failed[Task]]:
        try:
            for future in as_completed(task_of):
                yield self.ended(future, task_of[future], timeout_s)
        finally:
            for future in task_of:  # no effect on those that are done
                future.cancel()


class RunningTasks:
    """Tasks in one or several pools that have been started and have not ended.

    A context manager; tasks that have not begun when it is left are given up.
    """

    def __init__(self) -> None:
        self._tasks: dict[Future[Any], tuple[Any, Workers, Any, float | None]] = {}  # with key and time limit

    def __enter__(self) -> RunningTasks:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Give up the tasks that have not begun."""
        for future in self._tasks:
            future.cancel()

    def ended(self) -> list[tuple[Any, Done[Any, Any] | Failed[Any]]]:
        """The tasks that have ended and were not returned yet, each with its key. Does not wait.

        Raises:
            UserError: the processes cannot start, or were killed, and there are no results.
        """
        results = []
        for future in [future for future in self._tasks if future.done() and not future.cancelled()]:
            key, workers, task, timeout_s = self._tasks[future]
            try:
                results.append((key, workers.ended(future, task, timeout_s)))
            except UserError:
                if results:
                    break
                raise
            del self._tasks[future]
        return results

    def __len__(self) -> int:
        return len(self._tasks)

    def count(self, key: object) -> int:
        """How many tasks with this key have not ended."""
        return sum(one == key for one, _, _, _ in self._tasks.values())

    def start(
        self,
        workers: Workers,
        function: Callable[[Task], Result],
        task: Task,
        *,
        key: object = None,
        timeout_s: float | None = None,
    ) -> None:
        """Start a task.

        Args:
            workers: the pool.
            function: importable by name.
            task: picklable.
            key: returned with the result.
            timeout_s: its worker is killed and replaced after as many seconds; None: no limit.
        """
        future = workers.schedule(function, task, timeout_s=timeout_s)
        self._tasks[future] = key, workers, task, timeout_s

    def next(self, timeout_s: float | None = None) -> list[tuple[Any, Done[Any, Any] | Failed[Any]]]:
        """Wait until at least one task has ended. Returns those that have, each with its key.

        Args:
            timeout_s: after as many seconds, return an empty list. None: no limit.
        """
        wait(self._tasks, timeout=timeout_s, return_when=FIRST_COMPLETED)
        return self.ended()


def run_each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
    preload: Sequence[str] = (),
) -> Iterator[Done[Task, Result] | Failed[Task]]:
    """Like :meth:`Workers.run_each`, in a pool for these tasks alone.

    Args:
        function: importable by name.
        tasks: picklable.
        workers: number of processes, never more than there are tasks; None: one per core.
        timeout_s: time limit of a task.
        preload: see :class:`Workers`.
    """
    if not tasks:
        return
    with Workers(min(workers or available_cores(), len(tasks)), preload=preload) as pool:
        yield from pool.run_each(function, tasks, timeout_s=timeout_s)


def _call(content: bytes) -> Any:
    """Do a task. In the worker it is unpickled as a part of the task, which is then what an error is of."""
    function, task = pickle.loads(content)
    try:
        return function(task)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None  # the parent can read this one
        raise


def _do_nothing() -> None:
    """The task that starts the workers."""


def _initialize_worker(nice: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone handles Ctrl-C and reports it
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # SLURM sends it to all processes of a job
    lower_priority(nice)
