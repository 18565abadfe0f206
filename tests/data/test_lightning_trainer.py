"""ClipDataModule in a user's own Lightning Trainer, with one and with two processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import programs
import pytest
import pytorch_lightning as pl
import torch
from clips import write_manifest_and_label_map
from own_trainer import MeanColour

from asl import ClipDataModule, read_manifest


def test_three_lines_with_default_settings_train_and_validate(tiny_data: Path) -> None:
    data = ClipDataModule(tiny_data / "metadata" / "tiny_manifest.csv")
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(model := MeanColour(len(data.glosses)), data)
    assert trainer.global_step == 1  # 12 clips, data.batch_size=16
    assert 0 <= float(trainer.callback_metrics["val_accuracy"]) <= 1
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["video"].shape == (6, 3, 32, 112, 112)
    assert torch.isfinite(model.layer.weight).all()


@pytest.fixture(scope="module")
def recorded(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Any]]:
    """What own_trainer.py recorded, by number of devices and rank: 12 train clips, 5 val clips."""
    folder = tmp_path_factory.mktemp("own_trainer")
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    absolute = [clip for clip in clips if clip.video_id != "val201"]
    (folder / "metadata").mkdir()
    for name in ("videos", "frames"):
        (folder / name).symlink_to(tiny_data / name)
    manifest = write_manifest_and_label_map(folder / "metadata" / "five_manifest.csv", absolute)
    for devices in (2, 1):
        script = Path(__file__).with_name("own_trainer.py")
        result = programs.run(script, manifest, folder, str(devices), env={"PYTHONPATH": str(programs.ROOT)})
        assert result.returncode == 0, result.stderr
    return {
        devices: [json.loads((folder / f"{devices}_{rank}.json").read_text()) for rank in range(devices)]
        for devices in (1, 2)
    }


def test_two_processes_validate_every_clip_once(recorded: dict[int, list[Any]]) -> None:
    for epoch in range(2):
        shares = [rank["val"][epoch] for rank in recorded[2]]
        assert [len(share) for share in shares] == [3, 3]
        valid = [position for share in shares for position, valid, _ in share if valid]
        assert sorted(valid) == [12, 13, 14, 15, 16]


def test_the_training_clips_of_two_processes_are_those_of_one(recorded: dict[int, list[Any]]) -> None:
    """Lightning would shard other samplers a second time: each rank would get a quarter of the clips."""
    (alone,) = recorded[1]
    for epoch in range(2):
        first, second = (rank["train"][epoch] for rank in recorded[2])
        together = [draw for pair in zip(first, second, strict=True) for draw in pair]
        assert len(together) == 12
        assert together == alone["train"][epoch]
    assert alone["train"][0] != alone["train"][1]
