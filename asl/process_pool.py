"""pebble's pool of processes, which also understands a worker that ends as soon as it has taken a task.

pebble (5.2) looks for the task of a worker that has ended, but may not have read yet that it took one. Then
it calls the pool broken if no other task is running, and otherwise never ends the task, or calls it too slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import pebble
from pebble import ProcessExpired
from pebble.common import Result, ResultStatus
from pebble.pool.process import NoMessage, PoolManager, TaskManager, WorkerManager


class ProcessPool(pebble.ProcessPool):
    """Arguments and methods are those of :class:`pebble.ProcessPool`.

    It is broken when workers end by themselves before one has begun a task, or again and again without
    beginning one.
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
        self._pool_manager = _PoolManager(self._context, context)


class _PoolManager(PoolManager):
    def __init__(self, context: Any, mp_context: Any) -> None:
        super().__init__(context, mp_context)
        self.task_manager: _TaskManager = _TaskManager(context.task_queue.task_done)
        self.worker_manager: _WorkerManager = _WorkerManager(
            context.workers, context.worker_parameters, mp_context
        )
        self._ended: dict[int | None, _Ended] = {}  # workers that ended by themselves, by process id

    def update_tasks(self) -> None:
        """End the tasks of workers that have ended. The rest is pebble's."""
        super().update_tasks()
        for task in list(self.task_manager.tasks.values()):
            worker = task.worker_id
            if not worker or worker in self.worker_manager.workers:
                continue
            if worker not in self._ended:  # it was stopped for another task, in the moment it took this one
                task.worker_id, task.timestamp = 0, 0.0
                self.context.task_queue.put(task)
            elif self._ended[worker].at < self.worker_manager.all_read_at:
                error = ProcessExpired("worker ended", code=self._ended[worker].exit_code, pid=worker)
                self.task_manager.task_done(task.id, Result(ResultStatus.ERROR, error))

    def update_workers(self) -> None:
        """Note which workers have ended, and start new ones for them."""
        now = time.monotonic()
        for worker in list(self.worker_manager.workers.values()):
            if not worker.is_alive():
                self._ended[worker.pid] = _Ended(worker.exitcode or 0, now)
        begun_at, read_at = self.task_manager.begun_at, self.worker_manager.all_read_at
        num_ended = sum(begun_at < ended.at < read_at for ended in self._ended.values())
        if num_ended > (0 if begun_at == 0.0 else 2 * self.worker_manager.workers_number):
            raise BrokenProcessPool("workers end and do not begin a task")
        super().update_workers()

    def handle_worker_expiration(self, expiration: tuple[int, int]) -> None:
        """Do nothing: :meth:`update_tasks` ends the task, once it is known which."""


@dataclass(frozen=True)
class _Ended:
    exit_code: int
    at: float  # when it was seen; all times are those of time.monotonic()


class _WorkerManager(WorkerManager):
    all_read_at = 0.0  # when all messages of workers had been read

    def receive(self, timeout: float) -> Any:
        """The next message of a worker."""
        message = super().receive(0.0)
        if isinstance(message, NoMessage):
            self.all_read_at = time.monotonic()
            message = super().receive(timeout)
        return message


class _TaskManager(TaskManager):
    begun_at = 0.0  # when a worker last began a task

    def task_start(self, task_id: int, worker_id: int | None) -> None:
        """A worker has begun a task. ``worker_id`` is None if the task or its result cannot be sent."""
        task = self.tasks.get(task_id)
        if task is not None and task.future.running():  # begun for the second time
            task.worker_id, task.timestamp = worker_id or 0, time.time()
        else:
            super().task_start(task_id, worker_id)
        if worker_id is not None:
            self.begun_at = time.monotonic()
