"""``metrics.json`` of an evaluation: where it is, and whether it is of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asl.data.split import OFFICIAL
from asl.training.identity import dataset_names

METRICS = "metrics.json"


def evaluation_folder(checkpoint: Path, figure: str, *, views: int = 1) -> Path:
    """The folder of the results of an evaluation, unless ``output`` names another one.

    Args:
        checkpoint: the file.
        figure: what is measured, see :meth:`SplitSettings.figure_on`.
        views: temporal views.
    """
    suffix = f"-{views}views" if views > 1 else ""
    return checkpoint.parent / "evaluation" / f"{checkpoint.stem}-{figure}{suffix}"


def other_checkpoint(metrics: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """What shows that figures are of another checkpoint. Empty if nothing does.

    Args:
        metrics: content of ``metrics.json``.
        info: key ``asl`` of the checkpoint.

    Raises:
        KeyError: ``metrics`` lacks a key.
    """
    theirs = {
        "epoch": info["epoch"],
        "model": info["model"]["name"],
        "data_split": info.get("split", OFFICIAL),  # not in checkpoints of the first version
        "glosses": len(info["glosses"]),
    }
    for name, value in theirs.items():
        if metrics[name] != value:
            return f"it is of another checkpoint ({name} {metrics[name]!r}, and here {value!r})"
    if metrics["dataset"] not in (info["dataset"], *dataset_names(info)):  # one of several, measured alone
        return f"it is of another checkpoint (dataset {metrics['dataset']!r}, and here {info['dataset']!r})"
    return ""


def older_than(checkpoint: Path, path: Path) -> str:
    """``it is older than the checkpoint`` if a file that exists is. Otherwise empty."""
    return "it is older than the checkpoint" if path.stat().st_mtime < checkpoint.stat().st_mtime else ""
