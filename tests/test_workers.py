import os
import time

import pytest

from asl.workers import Done, Failed, run_each


def work(task):
    if task == "hang":
        time.sleep(60)
    if task == "crash":
        os.kill(os.getpid(), 11)
    if task == "raise":
        raise ValueError("not this one")
    return task.upper()


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


def test_no_task_is_no_work():
    assert list(run_each(work, [])) == []


def test_leaving_early_ends_the_workers():
    started = time.monotonic()
    for _ in run_each(work, ["a", "hang", "hang"], workers=2):
        break
    if time.monotonic() - started > 30:
        pytest.fail("waited for tasks that nobody wants any more")
