import asyncio
import os
import pickle
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from threading import Event

import pytest

from asl.errors import UserError
from asl.workers import Done, Failed, RunningTasks, Workers, run_each

pytestmark = pytest.mark.slow


def work(task):
    if task == "hang":
        time.sleep(60)
    if task == "crash":
        os.kill(os.getpid(), 11)
    if task == "preempted":
        os.kill(os.getpid(), signal.SIGUSR1)
    if task == "raise":
        raise ValueError("not this one")
    return task.upper()


def test_sigusr1_which_slurm_sends_to_all_processes_costs_no_task():
    assert [one.result for one in run_each(work, ["preempted"], workers=1)] == ["PREEMPTED"]


def test_a_hang_a_crash_and_an_error_cost_one_task_each():
    tasks = ["a", "hang", "b", "crash", "c", "raise", "d"]
    ended = {one.task: one for one in run_each(work, tasks, workers=2, timeout_s=3)}
    assert {task: one.result for task, one in ended.items() if isinstance(one, Done)} == {
        task: task.upper() for task in "abcd"
    }
    failed = {task: (one.reason, one.message) for task, one in ended.items() if isinstance(one, Failed)}
    assert failed == {
        "hang": ("time limit", "took longer than 3 s"),
        "crash": ("crash", "crashed the decoder (exit code -11)"),
        "raise": ("error", "ValueError: not this one"),
    }


def test_a_coroutine_waits_for_its_task_alone():
    async def run(*tasks):
        return await asyncio.gather(*(workers.run(work, task, timeout_s=3) for task in tasks))

    with Workers(2) as workers:
        good, bad, hanging = asyncio.run(run("a", "raise", "hang"))
    assert good == Done("a", "A")
    assert (bad.message, hanging.reason) == ("ValueError: not this one", "time limit")


def test_lazy_tasks_are_drawn_as_others_end():
    drawn, ended = [], []

    def tasks():
        for task in ("a", "raise", "b", "crash", "c", "d"):
            drawn.append(task)
            assert len(drawn) - len(ended) <= 4  # two at work, and two that ended at the same moment
            yield task

    with Workers(2) as workers:
        for one in workers.run_lazily(work, tasks(), ahead=2, timeout_s=20):
            ended.append(one.task)
            if isinstance(one, Done):
                assert one.result == one.task.upper()
            else:
                assert one.reason == {"raise": "error", "crash": "crash"}[one.task]
    assert sorted(ended) == sorted(drawn)
    assert len(drawn) == 6


def test_lazy_tasks_are_not_drawn_after_the_caller_stops():
    drawn = []

    def tasks():
        for number in range(100):
            drawn.append(number)
            yield str(number)

    with Workers(1) as workers:
        for _ in workers.run_lazily(work, tasks(), ahead=2):
            break
    assert len(drawn) < 6


def test_without_tasks_there_are_no_results():
    assert list(run_each(work, [])) == []


def test_leaving_early_ends_the_workers():
    started = time.monotonic()
    for _ in run_each(work, ["a", "hang", "hang"], workers=2):
        break
    if time.monotonic() - started > 30:
        pytest.fail("waited for tasks after the caller stopped")


def slow_to_read(pool, monkeypatch):
    """Let a pool see that a worker has ended before it reads what the worker has sent."""
    read = pool._pool_manager.process_next_message

    def read_later(timeout):
        time.sleep(0.2)
        read(timeout)

    monkeypatch.setattr(pool._pool_manager, "process_next_message", read_later)


@pytest.mark.parametrize("tasks", [["crash"], ["a", "hang", "crash"]], ids=["alone", "beside others"])
def test_a_worker_that_ends_before_its_message_is_read_is_a_crash(tasks, monkeypatch):
    with Workers(2) as workers:
        slow_to_read(workers._pool, monkeypatch)
        for ended in workers.run_each(work, tasks):
            if isinstance(ended, Failed):
                assert (ended.task, ended.message) == ("crash", "crashed the decoder (exit code -11)")
                break
        (ended,) = workers.run_each(work, ["b"])
        assert ended == Done("b", "B")


def hang_at_first(file):
    if not file.exists():
        file.touch()
        time.sleep(60)
    return "done"


def test_a_task_whose_worker_was_stopped_for_another_task_is_begun_again(tmp_path, caplog):
    with Workers(1) as workers:
        future = workers.schedule(hang_at_first, tmp_path / "begun", timeout_s=None)
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        (worker,) = workers._pool._pool_manager.worker_manager.workers
        while not workers._pool._pool_manager.worker_manager.maybe_stop_worker(worker):
            time.sleep(0.01)
        assert future.result(timeout=60) == "done"
    assert caplog.records == []


def test_a_worker_that_is_killed_without_a_task_is_replaced():
    with Workers(1) as workers:
        assert [one.result for one in workers.run_each(work, ["a"])] == ["A"]
        (worker,) = workers._pool._pool_manager.worker_manager.workers
        kill_without_a_task(workers, worker)
        assert [one.result for one in workers.run_each(work, ["b", "c"])] == ["B", "C"]


def kill_without_a_task(workers, worker):
    """Kill a worker that holds no lock of the pool."""
    with workers._pool._pool_manager.worker_manager.workers_channel.lock():
        os.kill(worker, signal.SIGKILL)


def test_a_crash_of_many_workers_costs_each_its_task_and_each_task_is_begun_once(tmp_path):
    tasks = [tmp_path / f"{number}" for number in range(60)]
    with Workers(4) as workers:
        ended = {one.task: one for one in workers.run_each(crash_or_not, tasks)}
    for number, task in enumerate(tasks):
        assert isinstance(ended[task], Done if number % 3 else Failed)
        assert task.read_text() == "begun\n"


def crash_or_not(file):
    with file.open("a") as stream:
        stream.write("begun\n")
    if int(file.name) % 3 == 0:
        os._exit(int(file.name) % 2)


def test_a_worker_that_is_killed_while_it_sends_a_result_ends_the_work(tmp_path, monkeypatch):
    with Workers(1) as workers:
        future = workers.schedule(large_result, tmp_path / "may_end", timeout_s=None)
        manager, waits, may_read = workers._pool._pool_manager, Event(), Event()
        read = manager.process_next_message

        def read_later(timeout):
            waits.set()
            assert may_read.wait(60)
            read(timeout)

        while not future.running():
            time.sleep(0.01)
        monkeypatch.setattr(manager, "process_next_message", read_later)
        assert waits.wait(60)
        (tmp_path / "may_end").touch()
        assert manager.worker_manager.pool_channel.poll(60)  # the result fills the pipe
        (worker,) = manager.worker_manager.workers
        os.kill(worker, signal.SIGKILL)
        may_read.set()
        with pytest.raises(BrokenProcessPool, match="while it took a task or sent a result"):
            future.result(timeout=60)
        with pytest.raises(UserError, match="were killed, as the system does"):
            list(workers.run_each(work, ["b"]))


def test_a_worker_that_is_killed_while_it_takes_a_task_ends_the_work():
    with Workers(2) as workers:
        assert [one.result for one in workers.run_each(work, ["a"])] == ["A"]
        manager = workers._pool._pool_manager.worker_manager
        with manager.workers_channel.lock():  # which the worker leaves behind
            results = workers.run_each(work, ["b", "c"])
            os.kill(next(iter(manager.workers)), signal.SIGKILL)
            with pytest.raises(UserError, match="while it took a task"):
                list(results)


def large_result(file):
    hang_until(file)
    return bytes(50_000_000)


class TwoPartsError(Exception):
    """Cannot be unpickled, because its first argument alone is kept."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


class Unreadable:
    """Cannot be unpickled by a worker."""

    def __reduce__(self):
        return fail, ()


def fail(task=None):
    if task == "two parts":
        raise TwoPartsError(1, 2)
    raise LookupError("no such thing")


def test_what_cannot_be_unpickled_costs_its_task_alone():
    with Workers(1) as workers:
        ended = {f"{one.task}": one for one in workers.run_each(fail, ["two parts", "other"])}
        assert ended["two parts"].message == "RuntimeError: TwoPartsError: 1 and 2"
        assert ended["other"].message == "LookupError: no such thing"
        (ended,) = workers.run_each(work, [Unreadable()])
        assert ended.message == "LookupError: no such thing"
        assert [one.result for one in workers.run_each(work, ["a"])] == ["A"]
        with pytest.raises((AttributeError, pickle.PicklingError)):
            workers.run_each(lambda task: task, ["a"])


@pytest.mark.parametrize("method", ["receive", "dispatch", "create_workers"])
def test_an_error_of_a_thread_of_the_pool_ends_tasks(method, monkeypatch):
    def fail_at(*_):
        raise ValueError("a mistake")

    with Workers(1) as workers:
        assert [one.result for one in workers.run_each(work, ["a"])] == ["A"]
        monkeypatch.setattr(workers._pool._pool_manager.worker_manager, method, fail_at)
        if method == "dispatch":  # a task that cannot be sent
            (ended,) = workers.run_each(work, ["b"])
            assert ended.message == "ValueError: a mistake"
        else:
            with pytest.raises(UserError, match="were killed, as the system does"):
                list(workers.run_each(work, ["hang", "b"]))


def test_processes_that_cannot_start_say_how_to_write_the_script(monkeypatch):
    monkeypatch.setattr("asl.workers._initialize_worker", end_at_once)
    with Workers(2) as workers:
        message = 'under if __name__ == "__main__":'
        with pytest.raises(UserError, match=message):
            list(workers.run_each(work, ["a"]))
        with pytest.raises(UserError, match=message):
            list(workers.run_each(work, ["b"]))


def test_processes_that_are_not_required_cost_their_tasks_where_they_cannot_start(monkeypatch):
    monkeypatch.setattr("asl.workers._initialize_worker", end_at_once)
    with Workers(1, required=False) as workers:
        for task in ("a", "b"):
            (ended,) = workers.run_each(work, [task])
            assert (ended.task, ended.reason) == (task, "error")
            assert ended.message.startswith("BrokenProcessPool: ")


def test_results_are_returned_before_it_is_an_error_that_processes_cannot_start(monkeypatch):
    with Workers(1) as good, RunningTasks() as running:
        running.start(good, work, "a")
        while not running._tasks or not all(future.done() for future in running._tasks):
            time.sleep(0.01)
        monkeypatch.setattr("asl.workers._initialize_worker", end_at_once)
        with Workers(1) as bad:
            running.start(bad, work, "b")
            while not all(future.done() for future in running._tasks):
                time.sleep(0.01)
            assert running.ended() == [(None, Done("a", "A"))]
            with pytest.raises(UserError, match="cannot start"):
                running.ended()


def test_when_no_process_can_start_all_coroutines_end(monkeypatch):
    monkeypatch.setattr("asl.workers._initialize_worker", end_at_once)

    async def run():
        tasks = ("a" * 200_000 for _ in range(6))  # more than a pipe takes
        return await asyncio.gather(*(workers.run(work, task) for task in tasks), return_exceptions=True)

    with Workers(1) as workers:
        assert [type(one) for one in asyncio.run(asyncio.wait_for(run(), 60))] == [UserError] * 6


def test_processes_that_end_again_and_again_end_the_work_once_no_task_is_running(tmp_path):
    with Workers(2) as workers:
        future = workers.schedule(hang_until, tmp_path / "may_end", timeout_s=None)
        while not future.running():
            time.sleep(0.01)
        pool = workers._pool._pool_manager
        while len(pool.task_manager.tasks) > 1:
            time.sleep(0.01)
        pool.worker_manager.worker_parameters.initializer = end_at_once
        (idle,) = pool.worker_manager.workers.keys() - {
            task.worker_id for task in pool.task_manager.tasks.values()
        }
        kill_without_a_task(workers, idle)
        while pool.task_manager.failed_starts < 10:
            time.sleep(0.01)
        (tmp_path / "may_end").touch()
        assert future.result(timeout=60) == "done"
        with pytest.raises(UserError, match="were killed, as the system does"):
            list(workers.run_each(work, ["crash", "b"]))


def hang_until(file):
    while not file.exists():
        time.sleep(0.01)
    return "done"


def end_at_once(nice):
    os._exit(1)
