"""Compiled steps are kept beside the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from asl.training import compile_cache
from asl.training.compile_cache import COMPILED, CompileCache


class Rank:
    """Of a trainer what the callback uses."""

    is_global_zero = True


class Compiled:
    """Of a classifier what the callback uses."""

    compiled = True


TRAINER, MODULE = cast(Any, Rank()), cast(Any, Compiled())


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """PyTorch's count of compiled graphs, which the tests set."""
    counts = {"fxgraph_cache_miss": 0}
    monkeypatch.setattr(compile_cache, "counters", {"inductor": counts})
    return counts


def test_the_file_is_written_when_something_was_compiled(
    tmp_path: Path, graphs: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: (b"graphs", None))
    callback = CompileCache(tmp_path)
    callback.on_train_epoch_end(TRAINER, MODULE)
    assert not (tmp_path / COMPILED).exists()
    graphs["fxgraph_cache_miss"] = 2
    callback.on_train_epoch_end(TRAINER, MODULE)
    assert (tmp_path / COMPILED).read_bytes() == b"graphs"
    (tmp_path / COMPILED).unlink()
    callback.on_train_epoch_end(TRAINER, MODULE)
    assert not (tmp_path / COMPILED).exists()  # nothing new


def test_the_file_is_read_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def load(artifacts: bytes) -> object:
        read.append(artifacts)
        return object()

    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", load)
    CompileCache(tmp_path).on_train_start(TRAINER, MODULE)
    assert not read
    (tmp_path / COMPILED).write_bytes(b"graphs")
    CompileCache(tmp_path).on_train_start(TRAINER, MODULE)
    assert read == [b"graphs"]


def test_a_damaged_file_is_named_and_the_network_compiled_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / COMPILED).write_bytes(b"no such file")
    CompileCache(tmp_path).on_train_start(TRAINER, MODULE)
    assert f"{tmp_path / COMPILED} cannot be read, so the network is compiled again" in caplog.text
