"""``find_lr=true``: a suggestion, and nothing else."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from test_run import tiny

from asl.config.setting import ConfigError
from asl.training.run import train


def test_the_finder_prints_a_suggestion_and_its_curve_and_leaves_no_file(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.pt").write_text("of an earlier run")
    found = train(tiny(tiny_data, folder, "find_lr=true"))
    printed = capsys.readouterr().out
    assert 1e-8 < found["suggested_lr"] < 1
    assert f"optim.lr={found['suggested_lr']:.2g}, where the loss falls steepest (now 0.01)" in printed
    first = re.search(r"curve +1\.0e-08  loss (\S+)", printed)
    assert first is not None
    assert float(first.group(1)) == pytest.approx(math.log(3), abs=0.1)  # random weights, three glosses
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
    assert (folder / "last.pt").read_text() == "of an earlier run"
    assert list(temporary.rglob("*.ckpt")) == []


def test_the_finder_does_not_resume(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"find_lr=true: starts from model\.weights"):
        tiny(tiny_data, tmp_path, "find_lr=true", "resume=auto")
