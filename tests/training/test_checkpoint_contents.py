"""The network of a checkpoint, built again, and what is known before the first epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoints import run
from torch import nn

from asl.model.networks.r2plus1d import R2Plus1D
from asl.training.checkpoints import (
    CheckpointError,
    LastAndBest,
    copy_checkpoints,
    read_checkpoint,
    restore_network,
)

SETTINGS = R2Plus1D(width=2, layers=[1], dropout=0.5, weights=None)
CLIP = torch.randn(2, 3, 2, 8, 8)


def checkpoint_of(model: nn.Module, **info: Any) -> dict[str, Any]:
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    settings = {"name": "r2plus1d", **SETTINGS.architecture()}
    asl = {"glosses": ["book", "drink", "go"], "model": settings, **info}
    return {"state_dict": {**state, "loss.weight": torch.ones(3)}, "asl": asl}


@pytest.mark.parametrize("info", [{"network": "asl.model.networks.r2plus1d.R2Plus1D"}, {}])
def test_it_computes_what_it_did_with_or_without_the_name_of_its_class(info: dict[str, str]) -> None:
    """Checkpoints of the first version have only the network's name."""
    network = SETTINGS.build(3).eval()
    restored = restore_network(checkpoint_of(network, **info))
    assert not restored.training
    with torch.no_grad():
        assert torch.equal(restored(CLIP), network(CLIP))


def test_the_class_in_the_checkpoint_counts_not_the_name() -> None:
    checkpoint = checkpoint_of(SETTINGS.build(3), network="asl.model.networks.r3d.R3D")
    with pytest.raises(RuntimeError, match="Missing key"):  # R3D has other parameters
        restore_network(checkpoint)


@pytest.mark.parametrize("name", ["gone.Network", "asl.model.networks.r3d.Gone"])
def test_a_class_that_cannot_be_imported_is_an_error_that_says_where_to_put_it(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"(?s)the network {name} .*Python path"):
        restore_network(checkpoint_of(SETTINGS.build(3), network=name))


def test_before_the_first_epoch_there_is_no_best_one(tmp_path: Path) -> None:
    assert LastAndBest(tmp_path).state_dict() == {"best_score": float("-inf"), "best_epoch": 0}


def test_every_checkpoint_holds_what_a_resumed_run_needs(tmp_path: Path) -> None:
    run(tmp_path, [0.5, 0.4])
    for name in ("best.pt", "last.pt"):
        assert {"optimizer_states", "lr_schedulers", "loops", "callbacks"} <= set(
            read_checkpoint(tmp_path / name)
        )


@pytest.mark.parametrize(("earlier", "later"), [("a", "b"), ("b", "a")])
def test_the_best_epoch_so_far_goes_with_a_run_into_its_new_folder(
    tmp_path: Path, earlier: str, later: str
) -> None:
    run(tmp_path / earlier, [0.5, 0.4])
    (tmp_path / later).mkdir()
    copy_checkpoints(tmp_path / earlier / "last.pt", tmp_path / later, epoch=2)
    best = tmp_path / earlier / "best.pt"
    assert (tmp_path / later / "best.pt").read_bytes() == best.read_bytes()
    inode = best.stat().st_ino
    copy_checkpoints(tmp_path / earlier / "last.pt", tmp_path / earlier, epoch=2)
    assert best.stat().st_ino == inode  # not copied onto itself


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1.0], torch.zeros(2)])
def test_a_file_of_weights_is_no_checkpoint_and_the_error_says_how_to_use_it(
    tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"not a checkpoint of asl.*model\.weights=.*weights\.pt"):
        read_checkpoint(tmp_path / "weights.pt")
