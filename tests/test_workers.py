import asyncio
import os
import signal
import time

import pytest

from asl.errors import UserError
from asl.workers import Done, Failed, Workers, run_each

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
        os.kill(worker, signal.SIGKILL)
        assert [one.result for one in workers.run_each(work, ["b", "c"])] == ["B", "C"]


def test_processes_that_cannot_start_say_how_to_write_the_script(monkeypatch):
    monkeypatch.setattr("asl.workers._initialize_worker", end_at_once)
    with Workers(2) as workers:
        message = 'under if __name__ == "__main__":'
        with pytest.raises(UserError, match=message):
            list(workers.run_each(work, ["a"]))
        with pytest.raises(UserError, match=message):
            list(workers.run_each(work, ["b"]))


def test_processes_that_end_again_and_again_end_the_work(monkeypatch):
    with Workers(1) as workers:
        assert [one.result for one in workers.run_each(work, ["a"])] == ["A"]
        manager = workers._pool._pool_manager.worker_manager
        manager.worker_parameters.initializer = end_at_once
        (worker,) = manager.workers
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(UserError, match="are ended by the system"):
            list(workers.run_each(work, ["b"]))


def end_at_once(nice):
    os._exit(1)
