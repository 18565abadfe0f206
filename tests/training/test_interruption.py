"""Ctrl-C and SIGTERM within a process; ``test_train_cli.py`` sends them to processes of their own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import subprocess_script

from asl.errors import Terminated
from asl.training.interruption import Interruption, finished_first

TRAINER: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=None))


def run(work: Callable[[], None], interruption: Interruption | None = None) -> None:
    """Do ``work`` as a run does."""
    with (interruption or Interruption()).handled(TRAINER):
        work()


@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_work_is_finished_before_a_signal_takes_effect(signum: int, error: type[BaseException]) -> None:
    done: list[str] = []

    def work() -> None:
        with finished_first():
            signal.raise_signal(signum)
            done.append("this")
        done.append("more")

    with pytest.raises(KeyboardInterrupt) as raised:
        run(work)
    assert raised.type is error
    assert done == ["this"]


def test_what_an_interruption_breaks_is_no_error_and_handlers_are_restored() -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("connection closed by peer") from None

    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        run(work)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_exit_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(SystemExit, match="3"):
        run(lambda: sys.exit(3))


def test_a_signal_during_the_ending_does_not_interrupt_it() -> None:
    interruption, ended = Interruption(), []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Terminated as error:
            interruption.on_exception(TRAINER, TRAINER, error)
            signal.raise_signal(signal.SIGTERM)
            ended.append(True)
            raise

    with pytest.raises(Terminated):
        run(work, interruption)
    assert ended == [True]


class InterruptedWhenDeleted:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_validation_batch_start", "on_test_batch_start"])
def test_a_signal_that_python_swallowed_ends_the_run_at_the_next_batch(hook: str) -> None:
    interruption, done = Interruption(), []

    def work() -> None:
        InterruptedWhenDeleted()  # its exception is printed and ignored
        done.append("this")
        getattr(interruption, hook)(TRAINER, TRAINER, None, 0)
        done.append("another batch")

    with pytest.raises(Terminated):
        run(work, interruption)
    assert done == ["this"]


def test_another_rank_passes_signals_on_to_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, signum: sent.append((pid, signum)))
    monkeypatch.setenv("ASL_FIRST_RANK_PID", str(os.getppid()))
    with Interruption().handled(TRAINER):
        signal.raise_signal(signal.SIGINT)
        assert sent == [(os.getppid(), signal.SIGINT)]
        init = os.getppid() + 1
        monkeypatch.setattr(os, "getppid", lambda: init)  # the first rank has ended
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)


SIGNALS = (signal.SIGINT, signal.SIGTERM)
BLOCKS_BOTH = "import signal, sys; sys.exit(not {2, 15} <= signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def test_another_rank_starts_with_signals_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends before it has handlers would make Lightning kill the first rank."""
    monkeypatch.setattr(
        subprocess_script, "_basic_subprocess_cmd", lambda: [sys.executable, "-c", BLOCKS_BOTH]
    )
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, barebones=True)
    launcher: Any = trainer.strategy.launcher
    interruption = Interruption()
    with mock.patch.dict(os.environ), interruption.handled(trainer):
        launcher._call_children_scripts()
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(SIGNALS)
        assert [process.wait() for process in interruption._other_ranks] == [0]
    assert launcher.procs == []


def test_another_rank_passes_on_a_signal_that_came_while_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setenv("ASL_FIRST_RANK_PID", str(os.getppid()))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(os, "kill", lambda pid, signum: sent.append((pid, signum)))
    with Interruption().handled(TRAINER):
        assert sent == [(os.getppid(), signal.SIGINT)]
