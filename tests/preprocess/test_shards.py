"""Preprocessing shared out to several runs, and merged."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from composing import composed
from raw_videos import write_raw
from test_pipeline import small
from test_preprocess_program import link_demo

from asl.codecs.video_file import NOT_WRITABLE
from asl.contract.manifest import read_manifest
from asl.errors import UserError
from asl.preprocess import pipeline
from asl.preprocess.clips.cutting import CutFailure, CutResults
from asl.preprocess.clips.folder_lock import FolderInUseError
from asl.preprocess.clips.frames import FramesOutcome
from asl.preprocess.pipeline import preprocess
from asl.preprocess.shards.merge import UnfinishedShardsError
from asl.preprocess.shards.settings import ShardSettings

ROOT = Path(__file__).resolve().parents[2]
KEYS = ("dataset=demo", "trim=cpu", "trim.workers=1", "probe=0")

#: preprocess.py on a machine with another name; it stops in the middle of cutting if told so.
ON_A_MACHINE = """
import itertools, runpy, socket, sys, time
host, wait_after, program, *sys.argv[1:] = sys.argv[1:]
socket.gethostname = lambda: host
from asl.preprocess.clips import folder_lock, proof_log
folder_lock.HEARTBEAT_S = 0.1
add, count = proof_log.ProofLog.add, itertools.count(1)
def add_and_wait(*arguments):
    add(*arguments)
    if next(count) == int(wait_after):
        print("waiting", flush=True)
        time.sleep(60)
proof_log.ProofLog.add = add_and_wait
sys.argv[0] = program
runpy.run_path(program, run_name="__main__")
"""


def on_machine(host: str, *overrides: str, cwd: Path, wait_after: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ON_A_MACHINE, host, str(wait_after), str(ROOT / "preprocess.py")]
    return subprocess.Popen(
        [*command, *KEYS, *overrides],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def contents(data: Path) -> dict[str, bytes]:
    """All clips and frames, and the files whose content does not depend on when and where a run was."""
    names = ("manifest.csv", "audit.json", "preprocess_errors.csv", "label_map.json")
    files = [data / "metadata" / f"demo_{name}" for name in names]
    files += [path for name in ("videos", "frames") for path in (data / name).rglob("*") if path.is_file()]
    files += (data / "metadata" / "strips").iterdir()
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def single(demo_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one run over the whole demo gives."""
    cwd = tmp_path_factory.mktemp("single")
    data = link_demo(demo_dir, cwd)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        preprocess(composed("preprocess", *KEYS))
    return contents(data)


def test_shards_of_several_machines_are_merged_to_what_a_single_run_gives(
    single: dict[str, bytes], demo_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = link_demo(demo_dir, tmp_path)
    monkeypatch.chdir(tmp_path)
    first, second = (
        on_machine(
            f"node{index}", f"shard.index={index}", "shard.count=4", cwd=tmp_path, wait_after=3 * index
        )
        for index in (0, 1)
    )
    assert second.stdout is not None
    monkeypatch.setattr("asl.preprocess.clips.folder_lock.HEARTBEAT_S", 0.1)
    assert any(line.endswith("waiting\n") for line in second.stdout)  # in the middle
    for others in (
        ("shard.index=1", "shard.count=4"),
        ("merge=true",),
        (),
    ):
        with pytest.raises(
            FolderInUseError, match=r"by another run \(shard\.index=[01], process \d+ on node[01]"
        ):
            preprocess(composed("preprocess", *KEYS, *others))
    preprocess(composed("preprocess", *KEYS, "shard.index=2", "shard.count=4"))
    os.killpg(second.pid, signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output

    monkeypatch.setattr("asl.preprocess.clips.folder_lock.SILENT_S", 0.5)
    with pytest.raises(UnfinishedShardsError) as raised:
        preprocess(composed("preprocess", *KEYS, "merge=true"))
    assert raised.value.indices == (1, 3)
    message = str(raised.value)
    assert "2 of 4 shards are not done" in message
    assert f"shard.index=1 was killed (process {second.pid} on node1, since 2" in message
    assert "shard.index=3 was never started" in message
    assert message.endswith("\n  python preprocess.py merge=true shard.count=4")
    assert not (data / "metadata" / "demo_manifest.csv").exists()
    for index in raised.value.indices:
        assert f"\n  python preprocess.py shard.index={index} shard.count=4\n" in message
        preprocess(composed("preprocess", *KEYS, f"shard.index={index}", "shard.count=4"))
    record = json.loads((data / "metadata" / "demo_shards_of_4" / "1.json").read_text())
    assert (record["state"], record["reused"]) == ("finished", 3)

    cut: list[Any] = []
    monkeypatch.setattr("asl.preprocess.pipeline.cut_all", lambda *given, **_: cut.append(given))
    preprocess(composed("preprocess", *KEYS, "merge=true", "verify=full"))
    assert cut == []
    merged = contents(data)
    assert merged.keys() == single.keys()
    assert [name for name in merged if merged[name] != single[name]] == []
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    preprocess(composed("preprocess", *KEYS))
    assert contents(data) == single
    summary = json.loads((data / "metadata" / "demo_preprocess_summary.json").read_text())
    assert summary["reused"] == summary["clips"]


def test_a_shard_that_finds_no_space_fails_and_goes_on_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(tmp_path, {}, {"url": "http://x.example/b.mp4"})
    config.shard = ShardSettings(index=0, count=1)
    full = CutFailure("v0.mp4: No space left on device", NOT_WRITABLE, 0.0, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "cut_all", lambda *_, **__: CutResults({}, {"v0": full}, 0, FramesOutcome()))
        with pytest.raises(UserError, match=r"1 clips could not be written: v0\.mp4: No space left"):
            preprocess(config)
    merge = dataclasses.replace(config, merge=True, shard=ShardSettings())
    with pytest.raises(UnfinishedShardsError, match=r"shard\.index=0 failed \(.*\): 1 clips .*No space left"):
        preprocess(merge)
    preprocess(config)
    preprocess(merge)
    (clip,) = read_manifest(tmp_path / "metadata" / "small_manifest.csv")
    assert clip.video_id == "v0"
    write_raw(tmp_path / "raw" / "b.mp4")  # a file is added
    with pytest.raises(UnfinishedShardsError, match=r"shard\.index=0 lacks 1 clips, which are new"):
        preprocess(merge)
