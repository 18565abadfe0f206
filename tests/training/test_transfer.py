"""Training that starts from a checkpoint of another label set."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from clips import write_manifest_and_label_map
from test_run import tiny

from asl.contract.manifest import Clip, read_manifest
from asl.training.checkpoints import CheckpointError, read_checkpoint
from asl.training.run import train

ONE = ["trainer.max_epochs=1", "logger=[]"]


@pytest.fixture(scope="module")
def pretrained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was trained on the glosses book, drink and go."""
    folder = tmp_path_factory.mktemp("pretrained")
    train(tiny(tiny_data, folder, *ONE))
    return folder / "best.pt"


def other_labels(data: Path, tmp_path: Path, **changes: Any) -> str:
    """A manifest of the same clips, with go before drink and "read" instead of book."""
    label = {"go": 0, "drink": 1, "read": 2}
    clips = []
    for clip in read_manifest(data / "metadata" / "tiny_manifest.csv"):
        gloss = "read" if clip.gloss == "book" else clip.gloss
        clips.append(dataclasses.replace(clip, gloss=gloss, label=label[gloss], **changes))
    manifest = write_manifest_and_label_map(tmp_path / "other_manifest.csv", clips)
    return f"data.manifest={manifest}"


def start(data: Path, folder: Path, weights: Path, *overrides: str) -> dict[str, Any]:
    """The network as it is before the first step of a run with these weights."""
    first: dict[str, Any] = {}

    class First(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            first.update({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    train(tiny(data, folder, *ONE, f"model.weights={weights}", *overrides), callbacks=[First()])
    return first


def test_a_run_starts_from_a_checkpoint_of_other_glosses(
    tiny_data: Path, tmp_path: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = read_checkpoint(pretrained)["state_dict"]
    manifest = other_labels(tiny_data, tmp_path)
    new = start(tiny_data, tmp_path / "new", pretrained, manifest)
    assert torch.equal(new["model.stem.0.weight"], theirs["model.stem.0.weight"])
    assert not torch.equal(new["model.fc.weight"], theirs["model.fc.weight"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "new classifier" in printed
    assert "in common" not in printed
    kept = start(tiny_data, tmp_path / "kept", pretrained, manifest, "model.keep_glosses=true")
    assert torch.equal(kept["model.fc.weight"][:2], theirs["model.fc.weight"][[2, 1]])
    assert "new classifier but for 2 glosses in common" in " ".join(capsys.readouterr().out.split())


def swapped(clip: Clip) -> Clip:
    """The clip in another split: what was train is test, and test is train."""
    return dataclasses.replace(clip, split={"train": "test", "test": "train"}.get(clip.split, clip.split))


@pytest.mark.parametrize("change", ["", "gloss", "video_id"])
def test_weights_that_were_trained_on_test_clips_are_refused(
    tiny_data: Path, tmp_path: Path, pretrained: Path, change: str
) -> None:
    clips = [swapped(clip) for clip in read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")]
    if change == "gloss":
        clips = [dataclasses.replace(clip, gloss=f"sign {clip.gloss}") for clip in clips]
    elif change:
        clips = [dataclasses.replace(clip, video_id=f"x{clip.video_id}") for clip in clips]
    manifest = write_manifest_and_label_map(tmp_path / "other_manifest.csv", clips)
    with pytest.raises(CheckpointError, match=r"best\.pt was trained on 12 test clips of this run \("):
        train(tiny(tiny_data, tmp_path, *ONE, f"model.weights={pretrained}", f"data.manifest={manifest}"))


def test_weights_of_the_authors_protocol_are_refused_where_val_is_measured(
    tiny_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "authors"
    train(tiny(tiny_data, folder, *ONE, "protocol=wlasl_authors", f"paths.checkpoint_dir={folder}"))
    with pytest.raises(CheckpointError, match=r"trained on 6 val clips.*split wlasl_authors"):
        train(tiny(tiny_data, tmp_path / "second", *ONE, f"model.weights={folder}/best.pt"))


def test_copies_within_the_split_of_the_checkpoint_are_not_refused(tiny_data: Path, tmp_path: Path) -> None:
    clips = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    trained = next(clip for clip in clips if clip.split == "train")
    clips.append(dataclasses.replace(trained, split="test", video_id="copy"))
    manifest = f"data.manifest={write_manifest_and_label_map(tmp_path / 'copy_manifest.csv', clips)}"
    train(tiny(tiny_data, tmp_path / "first", *ONE, manifest))
    start(tiny_data, tmp_path / "second", tmp_path / "first" / "best.pt", manifest)


def test_a_checkpoint_without_clips_is_not_compared_and_this_is_said(
    tiny_data: Path, tmp_path: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(pretrained)
    del checkpoint["asl"]["clips"]
    torch.save(checkpoint, tmp_path / "old.pt")
    start(tiny_data, tmp_path / "run", tmp_path / "old.pt")
    printed = " ".join(capsys.readouterr().out.split())
    assert "does not say on which clips it was trained: val and test clips may be among them" in printed


def test_layer_decay_below_one_cannot_come_or_go_at_a_resume(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tiny_data, tmp_path, *ONE, "optim.layer_decay=0.5"))
    two = ["trainer.max_epochs=2", "logger=[]", "resume=auto"]
    with pytest.raises(CheckpointError, match=r"optim\.layer_decay=0\.5, and it is 1 now"):
        train(tiny(tiny_data, tmp_path, *two))
    assert train(tiny(tiny_data, tmp_path, *two, "optim.layer_decay=0.25"))["epochs"] == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "times 0.5 for each layer before the classifier" in printed
    assert "optim.layer_decay=0.5 there, 0.25 now" in printed
    groups = read_checkpoint(tmp_path / "last.pt")["optimizer_states"][0]["param_groups"]
    assert [group["scale"] for group in groups[:6:2]] == [1.0, 0.25, 0.0625]
