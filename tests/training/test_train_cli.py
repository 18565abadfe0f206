"""``python train.py`` in a process of its own: exit codes, messages, a sweep, a kill, two devices."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from clips import write_manifest_and_label_map
from test_run import TINY, tiny

from asl.contract.manifest import read_manifest
from asl.data.datamodule import ClipDataModule
from asl.training.checkpoints import read_checkpoint, restore_network
from asl.training.config import TrainConfig


def arguments(data_dir: Path, folder: Path, *overrides: str) -> list[str]:
    return ["train.py", *TINY, f"paths.data_dir={data_dir}", f"paths.checkpoint_dir={folder}", *overrides]


def run(data_dir: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return programs.run(*arguments(data_dir, folder, *overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batchsize=4", "Did you mean data.batch_size?"),
        ("data.batch_size=many", "data.batch_size: Value 'many'"),
        ("optim.lr=0", "optim.lr=0.0: must be greater than 0"),
        ("data.crop_size=99", "data.crop_size=99: does not fit into data.resize=[20, 30]"),
        ("data.manifest=nowhere.csv", "nowhere.csv: no such manifest. Write it with: python preprocess.py"),
    ],
)
def test_an_invalid_key_or_value_is_one_message_without_traceback(
    tiny_data: Path, tmp_path: Path, override: str, message: str
) -> None:
    result = run(tiny_data, tmp_path, override)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "last.pt").exists()


def test_each_job_of_a_sweep_has_its_folder_and_can_be_resumed(tiny_data: Path, tmp_path: Path) -> None:
    sweep = ["trainer.max_epochs=1", "logger=[]", "seed=1,2"]
    result = run(tiny_data, tmp_path, *sweep, "--multirun")
    assert result.returncode == 0, result.stderr
    folders = sorted(path.parent for path in tmp_path.glob("*/metrics.json"))
    assert len(folders) == 2
    seeds = [torch.load(folder / "last.pt", weights_only=True)["state_dict"] for folder in folders]
    assert any(not torch.equal(seeds[0][key], seeds[1][key]) for key in seeds[0])
    assert not (tmp_path / "last.pt").exists()

    result = run(tiny_data, tmp_path, *sweep, "resume=auto", "--multirun")
    assert result.returncode == 0, result.stderr
    assert " ".join(result.stdout.split()).count("resumed from") == 2
    assert sorted(path.parent for path in tmp_path.glob("*/metrics.json")) == folders


def wait_for_an_epoch(folder: Path, process: programs.Program | subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not (folder / "last.pt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def start(data_dir: Path, folder: Path) -> programs.Program:
    """Start a run of many epochs; returns when its first epoch is saved."""
    program = programs.Program(*arguments(data_dir, folder, "trainer.max_epochs=5000"))
    wait_for_an_epoch(folder, program)
    return program


def test_a_killed_run_can_be_resumed_from_its_last_finished_epoch(tiny_data: Path, tmp_path: Path) -> None:
    last = tmp_path / "last.pt"
    process = start(tiny_data, tmp_path)
    time.sleep(0.3)  # into a later epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(last, weights_only=True)["asl"]["epoch"]
    assert 1 <= done < 5000

    again = run(tiny_data, tmp_path, "trainer.max_epochs=5000")
    assert again.returncode == 1
    assert "resume=auto" in again.stderr
    assert torch.load(last, weights_only=True)["asl"]["epoch"] == done

    resumed = run(tiny_data, tmp_path, f"trainer.max_epochs={done + 2}", "resume=auto")
    assert resumed.returncode == 0, resumed.stderr
    assert f"epoch {done + 1}/{done + 2}" in resumed.stdout
    assert f"epoch {done}/{done + 2}" not in resumed.stdout
    assert json.loads((tmp_path / "metrics.json").read_text())["epochs"] == done + 2


STOPPED = "stopped; to resume after the last finished epoch, use resume=auto\n"


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_in_one_line_and_leaves_the_last_whole_epoch(
    tiny_data: Path, tmp_path: Path, signum: int, code: int
) -> None:
    process = start(tiny_data, tmp_path)
    process.send_signal(signum)
    printed, said = process.communicate()
    assert (process.returncode, said) == (code, STOPPED)
    epochs = printed.count("val top-1")
    assert 1 <= epochs < 5000
    # The line of an epoch is printed before its checkpoint is written.
    assert torch.load(tmp_path / "last.pt", weights_only=True)["asl"]["epoch"] in (epochs, epochs - 1)
    assert not (tmp_path / "metrics.json").exists()


def test_ctrl_c_in_one_of_two_processes_ends_both_in_one_line(tiny_data: Path, tmp_path: Path) -> None:
    keys = ["trainer.max_epochs=5000", "trainer.devices=2", "trainer.strategy=ddp", "logger=[]"]
    program, *rest = arguments(tiny_data, tmp_path, *keys)
    process = subprocess.Popen(
        [sys.executable, str(programs.ROOT / program), *rest],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it in the background
    )
    try:
        wait_for_an_epoch(tmp_path, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ranks = [int(pid) for pid in children if b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(ranks[0], signal.SIGINT)
        # This also waits until the other process has closed its end of the pipe.
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
    assert (process.returncode, said) == (130, STOPPED)


def test_two_processes_measure_each_clip_once(tiny_data: Path, tmp_path: Path) -> None:
    """Of five clips, one rank gets three and the other two; the latter repeats one that must not count.

    Each rank's batch norms have seen other clips, and so has their average (optim.ema_decay).
    """
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    five = [clip for clip in clips if clip.video_id not in ("val201", "test201")]
    five = [dataclasses.replace(clip, flags="suspect" if clip.label == 0 else "") for clip in five]
    manifest = write_manifest_and_label_map(tmp_path / "five_manifest.csv", five)
    keys = [f"data.manifest={manifest}", "trainer.max_epochs=1", "logger=[]", "optim.ema_decay=0.5"]
    result = run(
        tiny_data, tmp_path, *keys, "trainer.devices=2", "trainer.strategy=ddp", "optim.scale_lr=linear"
    )
    assert result.returncode == 0, result.stderr
    printed = " ".join(result.stdout.split())
    assert "8 clips a step: 2 devices" in printed
    assert "peak learning rate 0.02 (optim.lr=0.01, optim.scale_lr=linear)" in printed
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["clips"] == {"train": 12, "val": 5, "test": 5}
    for name in ("val_top1", "test_top1"):
        assert metrics[name] * 5 == pytest.approx(round(metrics[name] * 5), abs=1e-5)

    checkpoint = read_checkpoint(tmp_path / "best.pt")
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["initial_lr"] == pytest.approx(0.02)
    expected = measured_by_one_process(checkpoint, tiny(tiny_data, tmp_path, *keys))
    assert metrics["test_top1"] == pytest.approx(expected["test"]["top1"], abs=1e-6)
    assert metrics["test_top5"] == expected["test"]["top5"] == 1.0
    assert metrics["val_top1"] == pytest.approx(expected["val"]["top1"], abs=1e-6)
    assert metrics["clean_clips"] == {"train": 8, "val": 3, "test": 3}
    for split in ("val", "test"):
        assert metrics[f"{split}_top1_clean"] == pytest.approx(expected[split]["top1_clean"], abs=1e-6)
    # The loss differs from clip to clip: unlike the accuracy it always shows a clip that counts twice.
    assert checkpoint["asl"]["metrics"]["val_loss"] == pytest.approx(expected["val"]["loss"], rel=1e-5)
    first_twice = (5 * expected["val"]["loss"] + expected["val"]["first_loss"]) / 6
    assert first_twice != pytest.approx(expected["val"]["loss"], rel=1e-4)


def measured_by_one_process(checkpoint: dict[str, Any], config: TrainConfig) -> dict[str, dict[str, float]]:
    """Accuracy and loss of a checkpoint's network on val and test, computed without Lightning."""
    data = ClipDataModule(
        config.data.manifest, data=config.data, reader=config.reader, data_dir=config.paths.data_dir
    )
    data.prepare_data()
    data.setup()
    network, loss = restore_network(checkpoint), config.loss.build()
    results = {}
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
        label = torch.cat([batch["label"] for batch in batches])
        with torch.no_grad():
            logits = torch.cat([network(batch["video"]) for batch in batches])
        assert len(label) == 5
        ranks = (logits > logits.gather(1, label[:, None])).sum(1)  # 0: the true class is first
        results[split] = {
            "top1": float((ranks < 1).float().mean()),
            "top1_clean": float((ranks < 1)[label != 0].float().mean()),
            "top5": float((ranks < 5).float().mean()),
            "loss": float(loss(logits, label)),
            "first_loss": float(loss(logits[:1], label[:1])),
        }
    return results
