"""Run jobs through a launcher and wait for them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from asl.launch.local import LocalLauncher
from asl.launch.settings import JobLauncher, LauncherError, Place
from asl.machine import keep_to_cores
from asl.messages import first_few
from asl.terminal import count_progress, print_text

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_STOPPING_S = 60  # that a job which is to end has to save


@dataclass(frozen=True)
class Job:
    """A command, and its name for messages."""

    name: str
    command: tuple[str, ...]


class Command:
    """A command as submitit runs it. If it is preempted or its time ends, it is stopped and queued again.

    A signal asks the command to stop, as SIGTERM does, so that it can save.

    Args:
        command: program and arguments.
        place: where it runs.
    """

    def __init__(self, command: Sequence[str], place: Place) -> None:
        self.command, self.place = tuple(command), place
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the command; returns its exit code, or minus the signal that ended it."""
        if self.place.cores:
            keep_to_cores(self.place.cores)
        environment = {**os.environ, **self.place.environment}
        # SLURM sends submitit's signal, before the time limit, to all processes of a job.
        signum = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"))
        ignore = partial(signal.signal, signum, signal.SIG_IGN)
        self._process = subprocess.Popen(self.command, env=environment, preexec_fn=ignore)
        local = os.environ.get("SUBMITIT_EXECUTOR") == LocalLauncher.cluster
        if local:  # else SLURM sends SIGTERM to all processes of a job
            signal.signal(signal.SIGTERM, lambda *_: self._terminate())
        while (code := self._process.poll()) is None:  # not wait(): signals call checkpoint() meanwhile
            time.sleep(0.1)
        if not local and code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            time.sleep(_STOPPING_S)  # a job that returns has ended; one that SLURM ends is queued again
        return code

    def _terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def checkpoint(self) -> DelayedSubmission:
        """Stop the command; returns what submitit queues in its place."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOPPING_S)
        return DelayedSubmission(Command(self.command, self.place))


@dataclass
class _Running:
    job: Job
    place: Place
    handle: Any  # submitit's job
    retries: int  # so many times it was started before


def run_jobs(
    jobs: Sequence[Job],
    launcher: JobLauncher,
    *,
    folder: Path,
    name: str,
    go_on: str,
    gpus: int | None = None,
    console: Console,
) -> dict[str, str]:
    """Run jobs, print each that ends, and wait for all.

    A job that ends by itself with an error is not started again: it would fail again. One that was killed,
    by a full memory, a time limit or with its machine, is.

    Args:
        jobs: in the order in which they are started.
        launcher: where they run.
        folder: for their logs.
        name: of all jobs in the cluster's queue.
        go_on: printed after Ctrl-C, if the jobs go on: what to do when they have ended.
        gpus: of each job where the launcher has no number. None: whatever there is.
        console: shows the progress.

    Returns:
        What went wrong, by the names of the jobs that failed.

    Raises:
        LauncherError: jobs cannot be started.
        KeyboardInterrupt: with ``go_on`` as its message if the jobs go on.
    """
    executor = launcher.executor(folder, name=name, gpus=gpus)
    free = launcher.places(len(jobs), gpus=gpus)
    queue = deque((job, 0) for job in jobs)
    running: list[_Running] = []
    failed: dict[str, str] = {}
    print_text(console, f"{len(jobs)} jobs, launcher={launcher.cluster}, logs in {folder}")
    with count_progress(console) as progress:
        bar = progress.add_task("jobs", total=len(jobs))
        try:
            while queue or running:
                starting = [(*queue.popleft(), free.pop(0)) for _ in range(min(len(queue), len(free)))]
                if starting:
                    with _ctrl_c_ignored(), executor.batch():  # SLURM: one array
                        handles = [executor.submit(Command(job.command, place)) for job, _, place in starting]
                    running += [
                        _Running(job, place, handle, retries)
                        for (job, retries, place), handle in zip(starting, handles, strict=True)
                    ]
                    print_text(console, f"started: {first_few(job.name for job, _, _ in starting)}")
                time.sleep(launcher.poll_s)
                for one in [one for one in running if one.handle.done()]:
                    running.remove(one)
                    free.append(one.place)
                    code = _exit_code(one.handle)
                    if code == 0:
                        progress.advance(bar)
                        print_text(console, f"{one.job.name}: done")
                        continue
                    killed = code is None or code < 0 or code > 128  # as shells report a signal
                    problem = f"{_reason(code)}; log: {one.handle.paths.stdout}"
                    if killed and one.retries < launcher.retries:
                        print_text(console, f"{one.job.name}: {problem}; it is started again")
                        queue.append((one.job, one.retries + 1))
                    else:
                        failed[one.job.name] = f"{problem}{_last_error(one.handle.paths.stdout)}"
                        print_text(console, f"{one.job.name}: {failed[one.job.name]}")
        except KeyboardInterrupt as stop:
            if launcher.jobs_outlive_program:
                going = ", ".join(one.handle.job_id for one in running)
                stop.args = (f"the jobs {going} go on. When they have ended: {go_on}",)
            raise
        except (OSError, RuntimeError) as error:  # submitit's errors are RuntimeErrors
            raise LauncherError(f"launcher={launcher.cluster}: {error}") from error
        finally:
            if not launcher.jobs_outlive_program:
                _stop([one.handle for one in running])
    return failed


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Context manager: processes that are started ignore Ctrl-C, which a terminal sends to all."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _stop(handles: Sequence[Any]) -> None:
    """Stop jobs of this machine, and wait for them."""
    for handle in handles:
        with suppress(ProcessLookupError):
            os.kill(int(handle.job_id), signal.SIGTERM)
    begin = time.monotonic()
    while time.monotonic() - begin < _STOPPING_S and not all(handle.done() for handle in handles):
        time.sleep(0.1)


def _exit_code(handle: Any) -> int | None:
    """The command's exit code. None if submitit's process ended without telling it."""
    try:
        return int(handle.result())
    except Exception:  # submitit raises several kinds for jobs that were killed or could not run
        return None


def _reason(code: int | None) -> str:
    if code is None:
        return "killed, or its machine is gone"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _last_error(log: Path) -> str:
    """The last ``error: ...`` line of a log, on a line of its own; empty if there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((f"\n  {line}" for line in reversed(lines) if line.startswith("error: ")), "")
