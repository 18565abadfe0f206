"""``find_lr=true``: a suggestion, and nothing else."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from test_run import tiny

from asl.config.setting import ConfigError
from asl.training.lr_finder import suggest_learning_rate
from asl.training.run import train


def test_the_finder_prints_a_suggestion_and_its_curve_and_leaves_no_file(
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.pt").write_text("of an earlier run")
    found = train(tiny(tiny_data, folder, "find_lr=true"))
    printed = capsys.readouterr().out
    assert caplog.messages == []
    assert 1e-6 < found["suggested_lr"] < 1
    assert f"optim.lr={found['suggested_lr']:.2g}, where the loss falls steepest (now 0.01)" in printed
    first = re.search(r"curve +1\.0e-06  loss (\S+)", printed)
    assert first is not None
    assert float(first.group(1)) == pytest.approx(math.log(3), abs=0.1)  # random weights, three glosses
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
    assert (folder / "last.pt").read_text() == "of an earlier run"
    assert list(temporary.rglob("*.ckpt")) == []


def test_the_suggestion_is_where_the_loss_falls_steepest_over_decades() -> None:
    """Noise at the lowest rates has the steepest slope over the rate itself."""
    rates = np.geomspace(1e-6, 1, 100)
    falling = 2 - np.tanh(np.log10(rates) + 2) + 4 * np.maximum(0, np.log10(rates) + 0.5)
    noise = 0.001 * np.random.default_rng(0).normal(size=100)
    suggestion = suggest_learning_rate(rates.tolist(), (falling + noise).tolist())
    assert suggestion == pytest.approx(1e-2, rel=0.5)


def test_a_single_easy_batch_does_not_decide() -> None:
    """The smoothed loss jumps from one step to the next, more than it falls in a step elsewhere."""
    rates = np.geomspace(1e-6, 1, 100)
    falling = 2 - np.tanh(np.log10(rates) + 2)
    falling[95:] -= 0.2
    assert suggest_learning_rate(rates.tolist(), falling.tolist()) == pytest.approx(1e-2, rel=0.5)


@pytest.mark.parametrize("losses", [[2.0] * 30, [*([1.0] * 15), *([float("nan")] * 15)], [1.0] * 11])
def test_without_a_falling_loss_there_is_no_suggestion(losses: list[float]) -> None:
    assert suggest_learning_rate(np.geomspace(1e-6, 1, len(losses)).tolist(), losses) is None


def test_the_finder_does_not_resume(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"find_lr=true: starts from model\.weights"):
        tiny(tiny_data, tmp_path, "find_lr=true", "resume=auto")


def test_the_finder_tries_one_rate_for_all_layers(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"find_lr=true: tries one rate.*optim\.layer_decay=1"):
        tiny(tiny_data, tmp_path, "find_lr=true", "optim.layer_decay=0.7")
