"""The built-in data set from nothing to a trained network, by the three commands that a user types.

The network must have learnt motion: on reversed, shuffled and mirrored clips it has to fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import read_manifest
from asl.data.class_sampler import Draw
from asl.data.clip_dataset import ClipDataset
from asl.data.readers.frames import FramesReaderSettings
from asl.data.sampling import Sampling
from asl.data.transforms import centre_crop
from asl.demo import GLOSSES, Gloss, read_truth
from asl.training.checkpoints import read_checkpoint, restore_network

ROOT = Path(__file__).resolve().parents[2]

# About two minutes on two idle cores; nothing here depends on how long it takes.
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Run:
    """What the three commands left behind."""

    data_dir: Path
    checkpoint_dir: Path
    said: str  # the last command's output


def python(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data_dir, checkpoint_dir = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("checkpoints")
    python("-m", "asl.demo", str(data_dir))
    python("preprocess.py", "dataset=demo", f"paths.data_dir={data_dir}")
    said = python(
        "train.py", "experiment=demo", f"paths.data_dir={data_dir}", f"paths.checkpoint_dir={checkpoint_dir}"
    )
    return Run(data_dir, checkpoint_dir, said)


@pytest.fixture(scope="module")
def network(run: Run) -> nn.Module:
    """The best epoch's network, built from nothing but its checkpoint."""
    return restore_network(read_checkpoint(run.checkpoint_dir / "best.pt"))


@pytest.fixture(scope="module")
def unseen(run: Run) -> tuple[Tensor, list[Gloss]]:
    """Val and test clips, ``(N, T, H, W, C)`` uint8, and their glosses."""
    about = read_checkpoint(run.checkpoint_dir / "best.pt")["asl"]
    clips = read_manifest(run.data_dir / "metadata" / "demo_manifest.csv")
    dataset = ClipDataset(
        [clip for clip in clips if clip.split != "train"],
        data_dir=run.data_dir,
        sampling=Sampling(**about["sampling"]),
        size=tuple(about["resize"]),
        reader=FramesReaderSettings().build(FrameSettings(short_side=64), run.data_dir / "frames"),
    )
    gloss_of = {gloss.name: gloss for gloss in GLOSSES}
    videos = [dataset[Draw(i, None)]["video"] for i in range(len(dataset))]
    return torch.stack(videos), [gloss_of[clip.gloss] for clip in dataset.clips]


def recognised(run: Run, network: nn.Module, videos: Tensor) -> list[str]:
    about = read_checkpoint(run.checkpoint_dir / "best.pt")["asl"]
    with torch.inference_mode():
        labels = [
            network(centre_crop(batch, crop_size=about["crop_size"])).argmax(1) for batch in videos.split(16)
        ]
    return [about["glosses"][label] for label in torch.cat(labels)]


def share(names: list[str], expected: list[Gloss]) -> float:
    """How many of ``names`` are as expected, 0 to 1."""
    return sum(name == gloss.name for name, gloss in zip(names, expected, strict=True)) / len(names)


def test_val_accuracy_is_that_of_a_network_that_has_learnt(run: Run) -> None:
    metrics = json.loads((run.checkpoint_dir / "metrics.json").read_text())
    assert metrics["val_top1"] >= 0.80
    assert metrics["test_top1"] >= 0.80
    assert metrics["num_classes"] == 8
    assert metrics["clips"] == {"train": 272, "val": 64, "test": 64}
    assert f"{100 * metrics['val_top1']:.1f}%" in run.said


def test_the_checkpoint_alone_recognises_unseen_clips(
    run: Run, network: nn.Module, unseen: tuple[Tensor, list[Gloss]]
) -> None:
    videos, glosses = unseen
    metrics = json.loads((run.checkpoint_dir / "metrics.json").read_text())
    both = (metrics["val_top1"] + metrics["test_top1"]) / 2  # as many clips in each
    assert share(recognised(run, network, videos), glosses) == pytest.approx(both, abs=0.02)


def shuffled(videos: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([video[torch.randperm(len(video), generator=generator)] for video in videos])


@pytest.mark.parametrize(
    ("change", "partner"),
    [
        (lambda videos: videos.flip(1), Gloss.backwards),
        (lambda videos: videos.flip(3), Gloss.mirrored),
    ],
    ids=["reversed", "mirrored"],
)
def test_changed_clips_are_taken_for_the_partner(
    run: Run,
    network: nn.Module,
    unseen: tuple[Tensor, list[Gloss]],
    change: Callable[[Tensor], Tensor],
    partner: Callable[[Gloss], Gloss],
) -> None:
    videos, glosses = unseen
    names = recognised(run, network, change(videos))
    assert share(names, glosses) <= 0.3
    assert share(names, [partner(gloss) for gloss in glosses]) >= 0.6


def test_shuffled_frames_tell_the_hand_at_most(
    run: Run, network: nn.Module, unseen: tuple[Tensor, list[Gloss]]
) -> None:
    videos, glosses = unseen
    # One motion in four is guessed right.
    assert share(recognised(run, network, shuffled(videos)), glosses) <= 0.5


def test_exactly_the_rows_that_should_have_clips_have_them(run: Run) -> None:
    expected = {
        video_id: (told["raw"], told["num_frames"], told["width"] // 2 * 2, told["height"] // 2 * 2)
        for video_id, told in read_truth(run.data_dir)["instances"].items()
        if told["outcome"] == "clip"
    }
    clips = read_manifest(run.data_dir / "metadata" / "demo_manifest.csv")
    assert {
        clip.video_id: (clip.source, clip.num_frames, clip.width, clip.height) for clip in clips
    } == expected
    assert all((run.data_dir / clip.path).is_file() for clip in clips)


def test_training_leaves_both_checkpoints(run: Run) -> None:
    metrics = json.loads((run.checkpoint_dir / "metrics.json").read_text())
    best, last = (read_checkpoint(run.checkpoint_dir / name)["asl"] for name in ("best.pt", "last.pt"))
    assert best["glosses"] == last["glosses"] == [gloss.name for gloss in GLOSSES]
    assert best["metrics"]["val_top1"] == metrics["val_top1"] >= last["metrics"]["val_top1"]
    assert (best["epoch"], last["epoch"]) == (metrics["best_epoch"], metrics["epochs"])
