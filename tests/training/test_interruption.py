"""Ctrl-C and SIGTERM within a process; ``test_train_cli.py`` sends them to processes of their own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import subprocess_script
from torch.distributed import DistNetworkError

from asl.errors import Terminated
from asl.training import interruption as module
from asl.training.interruption import Interruption, RankError, finished_first

TRAINER: Any = SimpleNamespace(
    strategy=SimpleNamespace(launcher=None), is_global_zero=True, world_size=2, current_epoch=1, max_epochs=3
)


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


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_validation_batch_start", "on_test_batch_start"])
def test_a_signal_that_python_swallowed_ends_the_run_at_the_next_batch_and_is_not_printed(
    hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    interruption, done = Interruption(), []

    def work() -> None:
        InterruptedWhenDeleted()  # Python ignores its exception
        done.append("this")
        getattr(interruption, hook)(TRAINER, TRAINER, None, 0)
        done.append("another batch")

    with pytest.raises(Terminated):
        run(work, interruption)
    assert done == ["this"]
    assert printed == []
    assert sys.unraisablehook == printed.append


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


def test_a_rank_whose_first_rank_died_before_it_had_started_notices_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASL_FIRST_RANK_PID", str(os.getppid() + 1))
    assert Interruption()._dead_rank() == "rank 0 has ended"


@pytest.mark.parametrize(
    ("exit_code", "what"),
    [
        (None, "another rank does not answer within trainer.timeout_s, or has died"),
        (-9, "rank 1 was killed by SIGKILL (signal 9)"),
    ],
)
def test_a_rank_that_waits_on_its_device_for_one_that_hangs_or_died_ends_with_all_others(
    exit_code: int | None, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(module, "exchange_has_failed", lambda: True)
    monkeypatch.setattr(module, "_POLL_S", 0.01)
    monkeypatch.setattr(module, "_GRACE_S", 0.01)
    interruption, other = Interruption(), mock.Mock(poll=lambda: exit_code)
    interruption._other_ranks.append(other)
    with pytest.raises(SystemExit, match=r"^1$"):
        interruption._watch_ranks(TRAINER, threading.Event())
    assert other.kill.called
    remedy = "The 2 ranks can only go on together. resume=auto continues after the last finished epoch"
    assert capsys.readouterr().err == f"error: {what}. {remedy}\n"


def trainer_of_an_epoch(exchange: Callable[[bool], bool]) -> Any:
    """A trainer whose ranks find out by ``exchange`` whether one of them has received SIGUSR1."""
    strategy = SimpleNamespace(launcher=None, reduce_boolean_decision=lambda mine, all: exchange(mine))
    return SimpleNamespace(**{**vars(TRAINER), "strategy": strategy}, should_stop=False)


def exchange_while_sigusr1_comes(mine: bool) -> bool:
    signal.raise_signal(signal.SIGUSR1)
    return mine


def test_sigusr1_while_the_ranks_exchange_whether_it_came_ends_the_next_epoch() -> None:
    interruption, module = Interruption(), mock.Mock()
    first, second = trainer_of_an_epoch(exchange_while_sigusr1_comes), trainer_of_an_epoch(bool)
    with interruption.handled(first):
        interruption.on_train_epoch_end(first, module)
        interruption.raise_if_preempted(first)  # as after early stopping: the other ranks know nothing of it
        interruption.on_train_epoch_end(second, module)
    assert (first.should_stop, second.should_stop) == (False, True)


def test_a_preempted_rank_requeues_the_job_also_if_another_one_got_sigterm_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interruption, requeued = Interruption(), mock.Mock()
    monkeypatch.setattr("asl.training.interruption.requeue_job", requeued)
    monkeypatch.setattr(interruption, "_wait_for_dead_rank", lambda: signal.raise_signal(signal.SIGTERM))

    def work() -> None:
        signal.raise_signal(signal.SIGUSR1)
        raise RuntimeError("gloo: connection closed by peer")

    with pytest.raises(Terminated):
        run(work, interruption)
    requeued.assert_called_once_with()


def test_a_port_that_is_in_use_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl.training.interruption._GRACE_S", 0.0)
    monkeypatch.setenv("MASTER_PORT", "29500")

    def work() -> None:
        raise DistNetworkError("The server socket has failed to listen. port: 29500, name: EADDRINUSE")

    with pytest.raises(RankError, match=r"port 29500 of this machine.*MASTER_PORT"):
        run(work)
