"""The built-in data set from nothing to a trained network, by the four commands that a user types.

But training draws half as many frames of a clip as ``make demo``, for three quarters of its epochs.

The network must have learnt motion: on reversed, shuffled and mirrored clips it has to fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import programs
import pytest
from recomputed_metrics import check_metrics, read_rows

from asl.contract.manifest import read_manifest
from asl.demo import GLOSSES, Gloss, read_truth
from asl.training.checkpoints import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]

# More than a minute on two idle cores; nothing here depends on how long it takes.
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Run:
    """What the first three commands left behind."""

    data_dir: Path
    checkpoint_dir: Path
    said: str  # train.py's output


def python(*arguments: str) -> str:
    """What ``python arguments`` prints."""
    if arguments[0] == "-m":
        result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    else:
        result = programs.run(*arguments, cwd=ROOT, timeout=1000)
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data_dir, checkpoint_dir = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("checkpoints")
    python("-m", "asl.demo", str(data_dir))
    python("preprocess.py", "dataset=demo", f"paths.data_dir={data_dir}")
    paths = [f"paths.data_dir={data_dir}", f"paths.checkpoint_dir={checkpoint_dir}"]
    half = ["data.clip_len=16", "data.frame_stride=4"]  # of the frames, over the same time: half the work
    said = python("train.py", "experiment=demo", *paths, *half, "trainer.max_epochs=6")
    return Run(data_dir, checkpoint_dir, said)


@pytest.fixture(scope="module")
def evaluation(run: Run) -> Path:
    """The folder in which ``evaluate.py`` has left figures and predictions for test, with all probes."""
    checkpoint = run.checkpoint_dir / "best.pt"
    python(
        "evaluate.py",
        "dataset=demo",
        f"paths.data_dir={run.data_dir}",
        f"checkpoint={checkpoint}",
        "probe=all",
    )
    return run.checkpoint_dir / "evaluation" / "best-test"


def share(path: Path, partner: Callable[[Gloss], Gloss] = lambda gloss: gloss) -> float:
    """How many clips of a file of predictions are taken for the partner of their gloss, 0 to 1."""
    gloss_of = {gloss.name: gloss for gloss in GLOSSES}
    rows = read_rows(path)
    return sum(row["top1"] == partner(gloss_of[row["gloss"]]).name for row in rows) / len(rows)


def test_val_accuracy_is_that_of_a_network_that_has_learnt(run: Run) -> None:
    metrics = json.loads((run.checkpoint_dir / "metrics.json").read_text())
    assert metrics["val_top1"] >= 0.80
    assert metrics["test_top1"] >= 0.80
    assert metrics["num_classes"] == 8
    assert metrics["clips"] == {"train": 272, "val": 64, "test": 64}
    assert f"{100 * metrics['val_top1']:.1f}%" in run.said


def test_figures_of_the_evaluation_are_those_of_scikit_learn_scipy_and_training(
    run: Run, evaluation: Path
) -> None:
    metrics = json.loads((evaluation / "metrics.json").read_text())
    check_metrics(metrics, evaluation)
    training = json.loads((run.checkpoint_dir / "metrics.json").read_text())
    for k in ("top1", "top5"):
        for ours, theirs in (("accuracy", f"test_{k}"), ("accuracy_clean", f"test_{k}_clean")):
            assert metrics[ours][k]["instances"]["value"] == pytest.approx(training[theirs], abs=1e-6)
    assert metrics["coverage"] == {"clips": 64, "official": 64, "reason": ""}


@pytest.mark.parametrize(
    ("probe", "partner"),
    [("reverse", Gloss.backwards), ("mirror", Gloss.mirrored)],
    ids=["reverse", "mirror"],
)
def test_reversed_and_mirrored_clips_are_taken_for_the_partner(
    evaluation: Path, probe: str, partner: Callable[[Gloss], Gloss]
) -> None:
    predictions = evaluation / f"predictions_{probe}.csv"
    assert share(predictions) <= 0.3
    assert share(predictions, partner) >= 0.6


def test_shuffled_frames_tell_the_hand_at_most_and_one_frame_tells_nothing_of_the_motion(
    evaluation: Path,
) -> None:
    # One motion in four is guessed right.
    assert share(evaluation / "predictions_shuffle.csv") <= 0.5
    assert share(evaluation / "predictions_static.csv") <= 0.5


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
