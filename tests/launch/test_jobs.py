"""Jobs through submitit: on this machine, and on a SLURM cluster whose commands are replaced by scripts."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from asl.launch.jobs import Command, Job, run_jobs
from asl.launch.local import LocalLauncher
from asl.launch.settings import JobLauncher, LauncherError, Place
from asl.launch.slurm import SlurmLauncher
from asl.machine import usable_cores


def python(code: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, arguments))


def run(jobs: list[Job], launcher: JobLauncher, folder: Path, **options: Any) -> tuple[dict[str, str], str]:
    """What went wrong, and what was printed."""
    console = Console(file=io.StringIO(), width=500)
    failed = run_jobs(
        jobs, launcher, folder=folder, name="test", go_on="run it again", console=console, **options
    )
    return failed, console.file.getvalue()  # type: ignore[attr-defined]


KILLED_ONCE = """
import os, pathlib, signal, sys
mark = pathlib.Path(sys.argv[1])
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_local_jobs_run_in_their_places_and_one_that_was_killed_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    seen = "import os; print('sees', os.environ['CUDA_VISIBLE_DEVICES'], sorted(os.sched_getaffinity(0)))"
    jobs = [
        Job("first", python(seen)),
        Job("wrong", python("import sys; print('trying'); sys.exit('error: no such key')")),
        Job("unlucky", python(KILLED_ONCE, tmp_path / "mark")),
    ]
    failed, printed = run(jobs, LocalLauncher(retries=1, jobs=2), tmp_path / "jobs", gpus=1)
    assert f"3 jobs, launcher=local, logs in {tmp_path / 'jobs'}\nstarted: first, wrong\n" in printed
    assert list(failed) == ["wrong"]
    assert failed["wrong"].startswith("exit code 1; log: ")
    assert failed["wrong"].endswith("\n  error: no such key")
    assert "unlucky: killed by signal 9; log: " in printed
    assert "unlucky: done" in printed
    logs = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*_log.out"))
    assert logs.count("trying") == 1  # it would fail again
    assert f"sees 3 {usable_cores()[::2]}" in logs


SAVES = """
import pathlib, signal, sys, time
saved = pathlib.Path(sys.argv[1])
if saved.exists():
    sys.exit(0 if saved.read_text() == "half" else 1)
def stop(*_):
    saved.write_text("half")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
saved.with_name("started").touch()
time.sleep(60)
"""


def test_a_preempted_job_is_stopped_and_goes_on(tmp_path: Path) -> None:
    executor = LocalLauncher().executor(tmp_path / "jobs", name="test", gpus=None)
    handle = executor.submit(Command(python(SAVES, tmp_path / "saved"), Place()))
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline, handle.stdout()
        time.sleep(0.02)
    (task,) = Path(f"/proc/{handle.job_id}/task/{handle.job_id}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)  # as SLURM does before a job is preempted or its time ends
    assert handle.result() == 0
    assert (tmp_path / "saved").read_text() == "half"
    assert "Requeued job" in handle.stdout()


SBATCH = """#!/bin/bash
cp "$1" "$(dirname "$0")/submitted.sh"
array=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for task in $(seq 0 "$array"); do
    SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=70 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 SLURM_PROCID=0 \\
        SLURM_CPUS_PER_TASK=3 bash "$1" >/dev/null 2>&1 &
done
echo "Submitted batch job 70"
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do
    if [[ "$1" == --output ]]; then
        log=$(echo "$2" | sed "s/%A/70/; s/%a/$SLURM_ARRAY_TASK_ID/; s/%t/0/"); shift
    fi
    shift
done
exec "$@" >"$log" 2>&1
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
"""


def test_slurm_gets_all_jobs_as_one_array_with_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(SlurmLauncher, "poll_s", 0.1)
    launcher = SlurmLauncher(
        partition="gpu",
        time_min=90,
        cpus=3,
        mem_gb=16,
        jobs=5,
        setup=["module load cuda"],
        sbatch=["--account=lab", "--exclusive"],
    )
    code = "import os; print('cores', os.environ['SLURM_CPUS_PER_TASK'])"
    jobs = [Job("a", python(code)), Job("b", python("import sys; sys.exit('error: none')"))]
    failed, printed = run(jobs, launcher, tmp_path / "jobs", gpus=1)
    script = (tmp_path / "submitted.sh").read_text()
    options = [line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line]
    for option in (
        *("partition=gpu", "time=90", "cpus-per-task=3", "mem=16GB", "gpus-per-node=1", "array=0-1%2"),
        *("account=lab", "exclusive", "job-name=test"),
    ):
        assert option in options
    assert "module load cuda" in script
    assert "srun" in script
    assert "--cpus-per-task=3" in script.split("srun", 1)[1]
    assert "a: done" in printed
    assert list(failed) == ["b"]
    assert "70_1_0_log.out\n  error: none" in failed["b"]
    assert "cores 3" in (tmp_path / "jobs" / "70_0_0_log.out").read_text()


def test_slurm_needs_its_commands_and_valid_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match=r"launcher=slurm: .*srun"):
        run([Job("a", ("true",))], SlurmLauncher(), tmp_path / "jobs")


def test_without_submitit_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(LauncherError, match=r"launcher=local needs submitit .*'asl\[slurm\]'"):
        run([Job("a", ("true",))], LocalLauncher(), tmp_path / "jobs")


# ---------------------------------------------------------------- without processes


class Handle:
    """A job that ends when it is asked for the ``polls``-th time, with ``outcome``."""

    def __init__(self, job_id: int, command: tuple[str, ...], folder: Path) -> None:
        self.job_id, self.command = f"9_{job_id}", command
        self.polls, self.outcome = 1, 0
        self.paths = type("Paths", (), {"stdout": folder / f"{job_id}.out"})

    def done(self) -> bool:
        self.polls -= 1
        return self.polls < 0

    def result(self) -> int:
        if self.outcome == 99:
            raise RuntimeError("no result")
        return self.outcome


class Executor:
    """Records what is submitted; a command's numbers are polls and outcomes of its tries."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.handles, self.batches = folder, list[Handle](), 0

    def batch(self) -> Executor:
        self.batches += 1
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, command: Command) -> Handle:
        tries = sum(handle.command == command.command for handle in self.handles)
        handle = Handle(len(self.handles), command.command, self.folder)
        handle.polls, handle.outcome = [int(part) for part in command.command[tries + 1].split(",")]
        self.handles.append(handle)
        assert sum(one.polls >= 0 for one in self.handles) <= 2  # at once
        return handle


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executor:
    made = Executor(tmp_path)
    monkeypatch.setattr(JobLauncher, "executor", lambda *_, **__: made)
    monkeypatch.setattr(LocalLauncher, "executor", lambda *_, **__: made)
    monkeypatch.setattr(SlurmLauncher, "executor", lambda *_, **__: made)
    monkeypatch.setattr("asl.launch.jobs.time.sleep", lambda _: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return made


def test_at_most_so_many_jobs_run_at_once_and_the_next_starts_when_one_ends(
    executor: Executor, tmp_path: Path
) -> None:
    jobs = [Job(f"{i}", (f"{i}", f"{5 - i},0")) for i in range(5)]
    assert run(jobs, LocalLauncher(jobs=2), tmp_path)[0] == {}
    assert [handle.command[0] for handle in executor.handles] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("tries", "retries", "problem"),
    [
        (["1,99", "1,0"], 1, None),  # its machine is gone, then done
        (["1,-9", "1,143", "1,0"], 2, None),
        (["1,-9", "1,-9"], 1, "killed by signal 9; log: "),
        (["1,99"], 0, "killed, or its machine is gone; log: "),
        (["1,1"], 3, "exit code 1; log: "),
    ],
    ids=str,
)
def test_killed_jobs_are_started_again_so_many_times(
    executor: Executor, tmp_path: Path, tries: list[str], retries: int, problem: str | None
) -> None:
    failed, _ = run([Job("one", ("one", *tries))], LocalLauncher(retries=retries), tmp_path)
    assert len(executor.handles) == len(tries)
    assert (failed == {}) if problem is None else failed["one"].startswith(problem)


def test_after_ctrl_c_jobs_of_the_cluster_go_on_and_the_message_says_how(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asl.launch.jobs.time.sleep", stop)
    with pytest.raises(KeyboardInterrupt, match=r"^the jobs 9_0, 9_1 go on\. When they have ended: run it"):
        run([Job("a", ("a", "5,0")), Job("b", ("b", "5,0"))], SlurmLauncher(), tmp_path)


def test_after_ctrl_c_jobs_of_this_machine_are_stopped_and_can_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sleep = time.sleep

    def stop(seconds: float) -> None:
        if seconds == LocalLauncher.poll_s and (tmp_path / "started").exists():
            raise KeyboardInterrupt
        sleep(seconds)

    monkeypatch.setattr("asl.launch.jobs.time.sleep", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        run([Job("a", python(SAVES, tmp_path / "saved"))], LocalLauncher(), tmp_path / "jobs")
    assert not caught.value.args  # the program's own message says how to go on
    assert (tmp_path / "saved").read_text() == "half"
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_the_program_stops_jobs_of_this_machine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sleep = time.sleep

    def fail(seconds: float) -> None:
        if seconds == LocalLauncher.poll_s and (tmp_path / "started").exists():
            raise BrokenPipeError("Broken pipe")  # as if a pager that reads the output is closed
        sleep(seconds)

    monkeypatch.setattr("asl.launch.jobs.time.sleep", fail)
    with pytest.raises(LauncherError, match="launcher=local: Broken pipe"):
        run([Job("a", python(SAVES, tmp_path / "saved"))], LocalLauncher(), tmp_path / "jobs")
    assert (tmp_path / "saved").read_text() == "half"


@pytest.mark.parametrize(
    ("visible", "jobs", "gpus", "expected"),
    [
        ("0,1,2", None, 1, ["0", "1", "2"]),
        ("0,1,2", None, 2, ["0,1"]),
        ("0,1", 3, 1, ["0", "1", "0"]),  # two share a GPU
        ("0,1", None, 0, [""]),
        ("0,1", 2, None, ["0,1", "0,1"]),
        ("", 2, 1, ["", ""]),
        ("0,1,2,3,4", None, 1, ["0", "1", "2", "3"]),  # there are four jobs
    ],
)
def test_each_local_job_has_gpus_and_cores_of_its_own(
    monkeypatch: pytest.MonkeyPatch, visible: str, jobs: int | None, gpus: int | None, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("asl.launch.local.usable_cores", lambda: [0, 1, 4, 5, 6])
    places = LocalLauncher(jobs=jobs, gpus=gpus).places(4, gpus=None)
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places] == expected
    cores = [core for place in places for core in place.cores]
    assert sorted(cores) == [0, 1, 4, 5, 6]
