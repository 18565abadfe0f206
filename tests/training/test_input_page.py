"""``input.html``, of training and of ``show=true``: the clips as the network gets them."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import write_clip, write_dataset, write_manifest_and_label_map
from composing import composed
from parsed_page import Page
from PIL import Image

from asl.config.setting import ConfigError
from asl.data.augmentation import Augmentation
from asl.data.datamodule import ClipDataModule
from asl.data.settings import DataSettings
from asl.data.transforms import KINETICS_MEAN, KINETICS_STD, normalise, to_pictures
from asl.model.classifier import SignClassifier
from asl.training import run as run_module
from asl.training.checkpoints import read_checkpoint
from asl.training.config import TrainConfig
from asl.training.run import train


def config_of(data_dir: Path, *overrides: str) -> TrainConfig:
    keys = ["dataset.name=tiny", "model.weights=null", "trainer=cpu", "logger=[]"]
    size = ["data.resize=[32,32]", "data.crop_size=28", "data.clip_len=4", "data.frame_stride=1"]
    folders = [f"paths.data_dir={data_dir}", f"paths.checkpoint_dir={data_dir / 'checkpoints'}"]
    return composed("train", *keys, *size, *folders, *overrides)


def strips(html: str) -> list[np.ndarray]:
    """The pictures of the page: ``(side, frames * side, 3)`` each."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(jpeg)))) for jpeg in found]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of which some have a box, and one has another shape."""
    folder = tmp_path_factory.mktemp("shown")
    clips = write_dataset(folder, {"train": 4, "val": 3})
    boxed = [dataclasses.replace(clip, box="0.2 0.2 0.6 0.9") for clip in clips]
    boxed[::2] = clips[::2]
    boxed[0] = dataclasses.replace(boxed[0], width=48, height=96)
    write_clip(folder / boxed[0].path, grey=[60] * 12, size=(48, 96))
    write_manifest_and_label_map(folder / "metadata" / "tiny_manifest.csv", boxed)
    return folder


@pytest.mark.parametrize(
    "keys",
    [[], ["data.fit=pad"], ["data.crop=signer", "data.fit=crop"], ["augment.mixup=0.2"]],
    ids=["squeeze", "pad", "signer", "mixed"],
)
def test_the_page_shows_eight_training_and_eight_evaluation_clips(data_dir: Path, keys: list[str]) -> None:
    config = config_of(data_dir, "show=true", *keys)
    page = Path(train(config)["page"])
    assert page == data_dir / "checkpoints" / "input.html"
    html = page.read_text()
    shown = strips(html)
    assert [strip.shape for strip in shown] == [(28, 4 * 28, 3)] * 16
    text = Page(html).text
    assert "The signer's box is known of 6 of 12 train clips, 4 of 9 val clips." in text
    assert all(key in text for key in keys)
    assert ("mixed with another one of its batch" in text) == ("augment.mixup=0.2" in keys)
    assert "augment.scale=[0.6,1.0]" in text
    assert not list((data_dir / "checkpoints").glob("*.pt"))


def test_training_writes_the_page_before_it_compiles_the_augmentation(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def record(datamodule: ClipDataModule) -> None:
        written.append((tmp_path / "run" / "input.html").read_text())

    monkeypatch.setattr(run_module, "why_not_compiled", lambda *_, **__: None)
    monkeypatch.setattr(SignClassifier, "compile_training", lambda module, parts, cuda_graphs: None)
    monkeypatch.setattr(ClipDataModule, "compile_augmentation", record)
    keys = ["model.width=2", "model.layers=[1,1]", "data.batch_size=4", "trainer.max_epochs=1"]
    train(config_of(data_dir, *keys, f"paths.checkpoint_dir={tmp_path / 'run'}"))
    shown = train(config_of(data_dir, *keys, f"paths.checkpoint_dir={tmp_path / 'shown'}", "show=true"))
    assert written == [Path(shown["page"]).read_text()]
    assert len(strips(written[0])) == 16


@pytest.mark.parametrize(
    ("mixing", "batch_size", "shown"),
    [({}, 8, 8), ({"mixup": 1.0}, 12, 8), ({"mixup": 1.0}, 3, 3)],
    ids=["alone", "mixup", "small batch"],
)
def test_the_training_clips_are_those_that_the_first_epoch_draws(
    data_dir: Path, mixing: dict[str, float], batch_size: int, shown: int
) -> None:
    settings = DataSettings(resize=[32, 32], crop_size=28, clip_len=4, batch_size=batch_size)
    manifest = data_dir / "metadata" / "tiny_manifest.csv"
    augmentation = Augmentation(hflip=True, rotation=10.0, **mixing)
    data = ClipDataModule(manifest, data=settings, augmentation=augmentation, seed=3)
    clips, video = data.sample("train", 8)
    assert len(clips) == shown
    data.prepare_data()
    data.setup()
    data.trainer = type("Training", (), {"training": True, "global_rank": 0, "world_size": 1})()
    first = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert [clip.label for clip in clips] == first["label"].tolist()[:shown]
    assert torch.allclose(video, first["video"][:shown], atol=1e-6)
    assert data.sample("val", 2)[0] == list(islice(data.datasets["val"].clips, 0, None, 4))[:2]


def test_pictures_are_what_was_normalised() -> None:
    levels = torch.randint(0, 256, (2, 3, 4, 5, 6))
    made = to_pictures(normalise(levels / 255, KINETICS_MEAN, KINETICS_STD))
    assert np.array_equal(made, levels.permute(0, 2, 3, 4, 1).numpy())


def test_a_page_and_a_learning_rate_are_not_made_in_one_run(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="find_lr=true show=true: choose one"):
        config_of(data_dir, "show=true", "find_lr=true")


def test_a_run_with_the_signer_and_all_augmentation_resumes_to_the_same_weights(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["data.crop=signer", "data.fit=pad", "model.width=2", "model.layers=[1,1]", "data.batch_size=4"]
    keys += ["augment.shift=0.2", "augment.drop=0.4", "augment.blur=1", "augment.downscale=2"]
    keys += ["augment.noise=0.1", "augment.blocks=0.1", "augment.erase=0.2", "optim.warmup_epochs=2"]
    for folder, epochs in (("whole", 2), ("broken", 1), ("broken", 2)):
        folders = [f"paths.checkpoint_dir={tmp_path / folder}", "resume=auto"]
        train(config_of(data_dir, *keys, *folders, f"trainer.max_epochs={epochs}"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "data.crop=signer: 11 of 21 clips have no box of the signer and show the whole picture" in printed
    whole, broken = (
        read_checkpoint(tmp_path / name / "last.pt")["state_dict"] for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
