"""Fixtures that several test modules of evaluation share."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_checkpoint import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for the clips of ``tiny_data``."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "best.pt", tiny_data)
