"""ClipDataModule: from a manifest to batches on the device."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from clips import make_clip, write_dataset, write_manifest_and_label_map

from asl.config.setting import ConfigError
from asl.contract.label_map import LabelMapError, read_or_write_label_map
from asl.contract.manifest import Clip, ManifestError, read_manifest, write_manifest
from asl.data.augmentation import Augmentation
from asl.data.class_sampler import Draw
from asl.data.clip_files import ClipError
from asl.data.datamodule import ClipDataModule
from asl.data.readers.decord import DecordReader, DecordReaderSettings
from asl.data.settings import DataSettings
from asl.data.transforms import centre_crop


def make_module(data_dir: Path, clips: list[Clip] | None = None, **settings: Any) -> ClipDataModule:
    """A data module of the tiny data set or of ``clips``; ``settings`` are keys of ``data`` or arguments."""
    manifest = data_dir / "metadata" / "tiny_manifest.csv"
    if clips is not None:
        manifest = write_manifest_and_label_map(Path(tempfile.mkdtemp()) / "other_manifest.csv", clips)
    keys = {field.name for field in dataclasses.fields(DataSettings)}
    data = {"clip_len": 4, "resize": [20, 30], "crop_size": 16, "batch_size": 4, "num_workers": 0}
    data |= {key: value for key, value in settings.items() if key in keys}
    rest = {key: value for key, value in settings.items() if key not in keys}
    rest = {"reader": DecordReaderSettings(), "data_dir": data_dir, **rest}
    return ClipDataModule(manifest, data=DataSettings(**data), **rest)


def test_train_batches_are_uint8_on_the_host_and_float_on_the_device(tiny_data: Path) -> None:
    module = make_module(tiny_data)
    module.trainer = SimpleNamespace(training=True, global_rank=0, world_size=1)  # type: ignore[assignment]
    batch = next(iter(module.train_dataloader()))
    assert batch["video"].dtype == torch.uint8
    assert batch["video"].shape == (4, 4, 20, 30, 3)
    on_device = module.on_after_batch_transfer(batch, 0)
    assert on_device["video"].dtype == torch.float32
    assert on_device["video"].shape == (4, 3, 4, 16, 16)


def test_evaluation_batches_are_not_augmented(tiny_data: Path) -> None:
    module = make_module(tiny_data, augmentation=Augmentation(hflip=True, rotation=20.0, mixup=0.5))
    module.trainer = SimpleNamespace(training=False, global_rank=0, world_size=1)  # type: ignore[assignment]
    batch = next(iter(module.val_dataloader()))
    batch["uniforms"] = torch.rand_like(batch["uniforms"])
    seen = module.on_after_batch_transfer(batch, 0)
    assert torch.equal(seen["video"], centre_crop(batch["video"], crop_size=16))
    assert set(seen) == {"video", "label", "valid", "clean"}


def test_evaluation_gives_every_clip_once_in_order_and_is_deterministic(tiny_data: Path) -> None:
    module = make_module(tiny_data)
    first, second = (list(module.val_dataloader()) for _ in range(2))
    labels = torch.cat([batch["label"] for batch in first]).tolist()
    assert labels == [clip.label for clip in module.datasets["val"].clips]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["video"], b["video"])
        assert a["valid"].all()


def test_workers_and_no_workers_give_the_same_training_batches(tiny_data: Path) -> None:
    def videos(num_workers: int) -> list[torch.Tensor]:
        module = make_module(tiny_data, num_workers=num_workers, clip_len=3, seed=5)
        return [torch.cat([b["video"].flatten().float(), b["uniforms"].flatten()])
                for b in module.train_dataloader()]  # fmt: skip

    alone, parallel = videos(0), videos(2)
    assert len(alone) == 3
    assert all(torch.equal(a, b) for a, b in zip(alone, parallel, strict=True))


def test_jitter_and_augmentation_depend_only_on_the_draw(tiny_data: Path) -> None:
    dataset = make_module(tiny_data).datasets["train"]
    again, once = dataset[Draw(0, entropy=(0, 1, 2))], dataset[Draw(0, entropy=(0, 1, 2))]
    other = dataset[Draw(0, entropy=(0, 2, 2))]
    assert torch.equal(again["uniforms"], once["uniforms"])
    assert torch.equal(again["video"], once["video"])
    assert not torch.equal(again["uniforms"], other["uniforms"])


def test_missing_files_are_counted_and_named_before_training(tiny_data: Path) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    missing = [make_clip("train", 0, number) for number in range(50, 58)]
    with pytest.raises(ClipError) as caught:
        make_module(tiny_data, [*clips, *missing])
    message = str(caught.value)
    assert "8 of 20 clips" in message
    assert "train050" in message
    assert "and 3 more" in message
    assert "python preprocess.py" in message


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_that_training_needs_must_not_be_empty(tiny_data: Path, split: str) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    with pytest.raises(ManifestError, match=f"no {split} clip"):
        make_module(tiny_data, [clip for clip in clips if clip.split != split])


def test_a_manifest_with_one_gloss_is_refused(tiny_data: Path) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    with pytest.raises(ManifestError, match="only one gloss"):
        make_module(tiny_data, [clip for clip in clips if clip.label == 0])


def test_the_label_map_decides_the_number_of_classes(tiny_data: Path, tmp_path: Path) -> None:
    """The manifest does not: it may have no clip of the last class."""
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    without_last = [clip for clip in clips if clip.label != 2]
    write_manifest(tmp_path / "some_manifest.csv", without_last)
    read_or_write_label_map(tmp_path / "some_label_map.json", ["book", "drink", "go", "never seen"])
    module = ClipDataModule(tmp_path / "some_manifest.csv", data_dir=tiny_data)
    assert module.glosses == ["book", "drink", "go", "never seen"]


def test_a_label_map_that_is_missing_or_does_not_fit_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    write_manifest(tmp_path / "some_manifest.csv", clips)
    with pytest.raises(LabelMapError, match=r"some_label_map\.json: no such label map"):
        ClipDataModule(tmp_path / "some_manifest.csv", data_dir=tiny_data)
    read_or_write_label_map(tmp_path / "some_label_map.json", ["drink", "book", "go"])
    with pytest.raises(LabelMapError, match="stands for 'book' in the manifest and for 'drink' in"):
        ClipDataModule(tmp_path / "some_manifest.csv", data_dir=tiny_data)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_error_names_a_clip_that_was_damaged_later(tmp_path: Path, num_workers: int) -> None:
    clips = write_dataset(tmp_path, {"train": 1, "val": 1}, num_glosses=2)
    victim = next(clip for clip in clips if clip.split == "val")
    (tmp_path / victim.path).write_bytes(b"damaged")
    module = make_module(tmp_path, clips, num_workers=num_workers)
    with pytest.raises(ClipError) as caught:
        list(module.val_dataloader())
    message = str(caught.value)
    assert message.startswith(f"clip {victim.video_id} ")
    assert victim.path in message
    assert "Traceback" not in message


def hang_on_val000(_: DecordReader, clip: Clip, *__: object, **___: object) -> np.ndarray:
    if clip.video_id == "val000":
        time.sleep(60)
    return np.zeros((4, 20, 30, 3), np.uint8)


def test_the_error_names_a_clip_that_hangs_its_reader(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecordReader, "read", hang_on_val000)
    module = make_module(tiny_data, num_workers=1, reader=DecordReaderSettings(timeout_s=1))
    loader = module.val_dataloader()
    with pytest.raises(RuntimeError) as caught:
        next(iter(loader))
    explained = module.explain_worker_error(caught.value)
    assert explained is not None
    assert "val000: " in str(explained)
    assert "reader.timeout_s (1)" in str(explained)


def test_only_worker_errors_are_explained(tiny_data: Path) -> None:
    assert make_module(tiny_data).explain_worker_error(RuntimeError("CUDA out of memory")) is None


def test_ranks_share_an_epoch_and_measure_val_clips_once(tiny_data: Path) -> None:
    valid: list[int] = []
    for rank in range(4):
        module = make_module(tiny_data)
        module.trainer = SimpleNamespace(global_rank=rank, world_size=4)  # type: ignore[assignment]
        assert len(module.train_dataloader().sampler) == 3  # type: ignore[arg-type]
        valid += [int(c) for batch in module.val_dataloader() for c in batch["valid"]]
    assert len(valid) == 8  # two each
    assert sum(valid) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": DataSettings(fold=9)}, r"data\.fold=9: must be below"),
        ({"data": DataSettings(pad="zero")}, r"data\.pad=zero: must be one of edge, loop"),
        ({"augmentation": Augmentation(mixup=-1.0)}, r"augment\.mixup=-1\.0: must be at least 0"),
        ({"data": DataSettings(fps=30.0)}, r"data\.fps=30 .*frames\.fps=25"),
    ],
    ids=str,
)
def test_settings_of_a_notebook_are_checked_as_the_programs_do(
    tiny_data: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ClipDataModule(tiny_data / "metadata" / "tiny_manifest.csv", **settings)
