"""Shards as jobs of a launcher; only those that are missing are started again."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import programs
import pytest
from composing import composed
from test_preprocess_program import link_demo
from test_shards import KEYS, contents

from asl.config.setting import ConfigError
from asl.contract.frame_store import FrameSpec, frames_path, open_frames
from asl.contract.manifest import read_manifest
from asl.launch.jobs import Job
from asl.preprocess import launch
from asl.preprocess.launch import preprocess_in_jobs
from asl.preprocess.pipeline import preprocess
from asl.preprocess.shards import merge
from asl.preprocess.shards.merge import UnfinishedShardsError

LAUNCHED = (*KEYS, "launcher=local", "launcher.jobs=2")


def start(*overrides: str, cwd: Path) -> programs.Program:
    keys = (*LAUNCHED, "shard.count=2", *overrides)
    env = {"PYTHONPATH": str(programs.ROOT), "COLUMNS": "200"}
    return programs.Program("preprocess.py", *keys, cwd=cwd, env=env)


def test_local_jobs_give_what_a_single_run_gives_although_one_is_killed(
    demo_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = link_demo(demo_dir, tmp_path / "jobs")
    record = data / "metadata" / "demo_shards_of_2" / "1.json"
    process = start(cwd=tmp_path / "jobs")
    while not record.exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    printed, said = process.communicate()
    assert process.returncode == 0, said
    assert "shard 1 of 2: killed by signal 9; log: " in printed
    assert printed.count(": done") == 2

    single = link_demo(demo_dir, tmp_path / "single")
    monkeypatch.chdir(tmp_path / "single")
    preprocess(composed("preprocess", *KEYS))
    assert contents(data) == contents(single)

    record.with_name("0.json").unlink()  # as if it was never started
    process = start("merge=true", "frames.pack=true", cwd=tmp_path / "jobs")
    printed, said = process.communicate()
    assert process.returncode == 0, said
    assert "starting 1 of 2 shards: 0" in printed
    assert printed.count(": done") == 1
    assert not list((data / "frames").rglob("*.safetensors"))
    for clip in read_manifest(data / "metadata" / "demo_manifest.csv"):
        spec = FrameSpec(short_side=64)
        found = [
            open_frames(frames_path(folder / "frames", spec, clip.video_id)) for folder in (data, single)
        ]
        assert (found[0][0] == found[1][0]).all()
        assert (found[0][1] == found[1][1]).all()


# ---------------------------------------------------------------- without jobs


class Cluster:
    """Takes the place of ``run_jobs`` and of the merge: notes what is started; ``missing`` of each merge."""

    def __init__(self, *missing: tuple[int, ...], failed: dict[str, str] | None = None) -> None:
        self.missing, self.failed = list(missing), failed or {}
        self.started: list[list[str]] = []
        self.jobs: list[Job] = []
        self.merges: list[Any] = []
        self.go_on = ""

    def run_jobs(self, jobs: list[Job], _: object, *, go_on: str, **__: object) -> dict[str, str]:
        self.started.append([job.name for job in jobs])
        self.jobs, self.go_on = jobs, go_on
        return self.failed

    def preprocess(self, config: Any) -> None:
        self.merges.append(config)
        if indices := self.missing.pop(0):
            raise UnfinishedShardsError("not done", indices)


def run(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
    monkeypatch.setattr(launch, "run_jobs", cluster.run_jobs)
    monkeypatch.setattr(launch, "preprocess", cluster.preprocess)
    arguments = [*LAUNCHED, "shard.count=3", *overrides]
    monkeypatch.setattr(sys, "argv", ["somewhere/preprocess.py", *arguments])
    monkeypatch.setattr(merge, "HydraConfig", SimpleNamespace(initialized=lambda: True))
    config = composed("preprocess", *arguments)
    preprocess_in_jobs(config, config.launcher)


def test_all_shards_are_started_and_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(())
    run(cluster, monkeypatch, "overwrite=true", "probe=2")
    assert cluster.started == [["shard 0 of 3", "shard 1 of 3", "shard 2 of 3"]]
    (config,) = cluster.merges
    assert (config.merge, config.overwrite, config.shard.index, config.probe) == (True, False, None, 2)
    assert cluster.jobs[1].command == (
        *(sys.executable, str(Path.cwd() / "somewhere/preprocess.py"), *KEYS),
        *("overwrite=true", "probe=2", "shard.index=1", "shard.count=3"),
    )
    assert cluster.go_on.endswith(" probe=2 merge=true shard.count=3")
    assert not {"launcher", "overwrite"} & set(re.findall(r"\w+", cluster.go_on))


def test_only_shards_that_the_merge_misses_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster((2,), (0, 2), ())
    run(cluster, monkeypatch, "merge=true", "launcher.retries=1")
    assert cluster.started == [["shard 2 of 3"], ["shard 0 of 3", "shard 2 of 3"]]


@pytest.mark.parametrize(("failed", "started"), [({}, 2), ({"shard 1 of 3": "exit code 1"}, 1)], ids=str)
def test_shards_that_fail_or_stay_missing_are_an_error(
    monkeypatch: pytest.MonkeyPatch, failed: dict[str, str], started: int
) -> None:
    cluster = Cluster((1,), (1,), failed=failed)
    with pytest.raises(UnfinishedShardsError):
        run(cluster, monkeypatch)
    assert len(cluster.started) == started


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["launcher=local"], "launcher: needs shard.count"),
        (["launcher=slurm", "shard.count=2", "shard.index=0"], "shard.index=0: a launcher starts all shards"),
        (["shard.count=2"], "shard.count=2: needs shard.index, a launcher"),
        (["launcher=slurm", "shard.count=2", "launcher.cpus=0"], "launcher.cpus=0: must be at least 1"),
        (["launcher=slurm", "shard.count=2", "launcher.sbatch=[account]"], "account is no long option"),
    ],
)
def test_contradictions_are_named(overrides: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem.replace(".", r"\.")):
        composed("preprocess", *overrides)
