"""pebble's pool of processes, made to end each task whenever and however a worker ends.

pebble (5.2) looks for the task of a worker that has ended, but may not have read yet that it took one. Then
it calls the pool broken if no other task is running, and otherwise never ends the task, or calls it too slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from queue import Empty
from typing import Any

import pebble
from pebble import ProcessExpired
from pebble.common import Result, ResultStatus
from pebble.pool.base_pool import PoolStatus
from pebble.pool.process import NoMessage, PoolManager, TaskManager, WorkerManager, dictionary_values

from asl.machine import is_running

_START_S = 60.0  # a worker that ends within it and has begun no task could not start
#: A lock that is taken at so many looks in a row (in 10 s), while no message comes, is a killed worker's.
_MOST_LOOKS = 100
_UNKNOWN = 255  # exit code that multiprocessing gives to workers whose server has ended


class ProcessPool(pebble.ProcessPool):
    """Arguments and methods are those of :class:`pebble.ProcessPool`.

    It breaks if workers cannot start, or if one is killed while it takes a task or sends a result. Then all
    tasks end with ``BrokenProcessPool``. The death of a worker otherwise ends its own task alone, with
    ``ProcessExpired``.
    """

    def __init__(
        self,
        max_workers: int,
        *,
        context: BaseContext,
        initializer: Callable[..., None],
        initargs: Iterable[Any],
    ) -> None:
        super().__init__(max_workers, context=context, initializer=initializer, initargs=initargs)
        self._pool_manager: _PoolManager = _PoolManager(self._context, context)

    @property
    def has_begun(self) -> bool:
        """Whether a worker has ever begun a task."""
        return self._pool_manager.task_manager.has_begun

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """See :meth:`pebble.ProcessPool.schedule`."""
        future = super().schedule(*args, **kwargs)
        if self._context.status == PoolStatus.ERROR:  # it broke in this moment
            self._pool_manager.abort()
        return future


@dataclass(frozen=True)
class _Ended:
    """A worker that ended by itself."""

    exit_code: int
    at: float  # when it was seen; all times are those of time.monotonic()
    within_s: float  # of its start


class _PoolManager(PoolManager):
    """Three threads run it, one each for ``schedule``, ``process_next_message`` and ``update_status``."""

    def __init__(self, context: Any, mp_context: Any) -> None:
        super().__init__(context, mp_context)
        self.task_manager: _TaskManager = _TaskManager(context.task_queue.task_done)
        self.worker_manager: _WorkerManager = _WorkerManager(
            context.workers, context.worker_parameters, mp_context
        )
        self._started_at: dict[int, float] = {}  # workers that have not ended, by process id
        self._ended: dict[int, _Ended] = {}  # those whose messages may not all have been read
        self._stopped: dict[int, float] = {}  # those that were stopped and left a task: when that was seen
        self._broken = BrokenProcessPool("the pool has broken")
        self._may_hold_lock = False  # whether a worker that has ended may
        self._looks, self._looks_since = 0, 0.0  # at the lock, and the time of the last message before

    def update_tasks(self) -> None:
        """Besides what pebble does, end the tasks of ended workers, and send those of stopped ones again."""
        super().update_tasks()
        read_at = self.worker_manager.all_read_at
        all_read = {worker: ended for worker, ended in self._ended.items() if ended.at < read_at}
        tasks = [task for task in dictionary_values(self.task_manager.tasks) if task.worker_id]
        for worker, ended in all_read.items():
            del self._ended[worker]
            was_idle = ended.within_s >= _START_S and not self.task_manager.has_waiting()
            if worker not in self.task_manager.begun_by and not was_idle:
                self.task_manager.failed_starts += 1
            self.task_manager.begun_by.discard(worker)
        now, stopped = time.monotonic(), self._stopped
        self._stopped = {}
        for task in tasks:
            worker = task.worker_id
            if worker in all_read:
                error = ProcessExpired("worker ended", code=all_read[worker].exit_code, pid=worker)
                self.task_manager.task_done(task.id, Result(ResultStatus.ERROR, error))
                continue
            # If a worker was stopped for its task, it may have ended that and taken another just before.
            if worker not in self.worker_manager.workers and worker not in self._ended:
                self._stopped[worker] = stopped.get(worker, now)
                is_read = self._stopped[worker] < self.worker_manager.all_read_at
                if is_read and self.task_manager.tasks.pop(task.id, None) is not None:
                    task.worker_id, task.timestamp = 0, 0.0
                    self.context.task_queue.put(task)

    def update_workers(self) -> None:
        """Note which workers have ended, and start new ones for them.

        Raises:
            BrokenProcessPool: workers cannot start, or one that has ended holds a lock of all.
        """
        now, workers = time.monotonic(), self.worker_manager.workers
        for worker, process in list(workers.items()):
            started_at = self._started_at.setdefault(worker, now)
            if not process.is_alive():
                if process.exitcode == _UNKNOWN and is_running(worker):
                    raise BrokenProcessPool("the process that starts the workers has ended")
                self._ended[worker] = _Ended(process.exitcode or 0, time.monotonic(), now - started_at)
                self._may_hold_lock = True
                workers.pop(worker, None)
        for worker in self._started_at.keys() - workers.keys():
            del self._started_at[worker]
        if self._may_hold_lock:
            self._look_at_lock()
        is_at_work = any(task.worker_id in workers for task in dictionary_values(self.task_manager.tasks))
        allowed = 2 * self.worker_manager.workers_number if self.task_manager.has_begun else 0
        if self.task_manager.failed_starts > allowed and not is_at_work:
            raise BrokenProcessPool("the workers end before they begin a task")
        self.worker_manager.create_workers()

    def _look_at_lock(self) -> None:
        """Raise BrokenProcessPool if no worker can take a task or send a result any more."""
        channel = self.worker_manager.workers_channel
        assert channel is not None  # while the pool runs
        with channel.lock(block=False) as is_free:
            self._may_hold_lock = not is_free
        if is_free or self._looks_since != self.worker_manager.message_at:
            self._looks, self._looks_since = 0, self.worker_manager.message_at
        self._looks += 1
        if self._looks > _MOST_LOOKS:
            raise BrokenProcessPool("a worker has ended while it took a task or sent a result")

    def schedule(self, task: Any) -> None:
        """Send a task to the workers. Where that cannot be done, the task ends with the error."""
        try:
            super().schedule(task)
        except BrokenProcessPool:
            raise
        except Exception as error:  # else the thread would end, and all tasks wait
            self.task_manager.task_problem(task.id, error)
        if self.context.status == PoolStatus.ERROR:  # it broke in this moment
            self.abort()

    def process_next_message(self, timeout: float) -> None:
        """Read a message of a worker."""
        with _breaking():
            super().process_next_message(timeout)

    def update_status(self) -> None:
        """Look after tasks and workers."""
        with _breaking():
            super().update_status()

    def handle_broken_pool(self, error: BrokenProcessPool) -> None:
        """End all tasks."""
        self._broken = error
        super().handle_broken_pool(error)
        self.abort()

    def abort(self) -> None:
        """End all tasks of a broken pool, those that no worker was sent included."""
        with suppress(Empty):
            while True:
                task = self.context.task_queue.get_nowait()
                if task is not None:
                    self.task_manager.register(task)
        self.context.task_queue.put(None)  # tells the thread that sends tasks to end
        self.task_manager.tasks_abort(self._broken)


@contextmanager
def _breaking() -> Iterator[None]:
    """Turn any error into one that breaks the pool. Others end its thread, and no task ever ends."""
    try:
        yield
    except BrokenProcessPool:
        raise
    except Exception as error:
        raise BrokenProcessPool(f"{type(error).__name__}: {error}") from error


class _WorkerManager(WorkerManager):
    all_read_at = 0.0  # when all messages of workers had been read
    message_at = 0.0  # when the last one had

    def receive(self, timeout: float) -> Any:
        """The next message of a worker."""
        now = time.monotonic()  # before the look, after which a worker may send and end
        message = super().receive(0.0)
        if isinstance(message, NoMessage):
            self.all_read_at = now
            message = super().receive(timeout)
        if not isinstance(message, NoMessage):
            self.message_at = time.monotonic()
        return message


class _TaskManager(TaskManager):
    has_begun = False  # whether a worker ever began a task
    failed_starts = 0  # workers that ended without having begun a task, since one last began one

    def __init__(self, task_done_callback: Callable[[], None]) -> None:
        super().__init__(task_done_callback)
        self.begun_by: set[int] = set()  # workers that have begun a task

    def task_start(self, task_id: int, worker_id: int | None) -> None:
        """A worker has begun a task. ``worker_id`` is None if the task or its result cannot be sent."""
        task = self.tasks.get(task_id)
        if task is not None and task.future.running():  # begun for the second time
            task.worker_id, task.timestamp = worker_id or 0, time.time()
        else:
            super().task_start(task_id, worker_id)
        if worker_id is not None:
            self.begun_by.add(worker_id)
            self.has_begun, self.failed_starts = True, 0

    def has_waiting(self) -> bool:
        """Whether there are tasks that have been sent and no worker has begun."""
        return any(not task.worker_id for task in dictionary_values(self.tasks))

    def task_done(self, task_id: int, result: Any) -> None:
        """Set the result, unless the task has ended otherwise in this moment."""
        with suppress(InvalidStateError):
            super().task_done(task_id, result)
