"""The whole way of a data set: from its files to a trained batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from composing import composed

from asl.contract.manifest import Clip, read_manifest
from asl.preprocess.pipeline import preprocess
from asl.training.run import train


def preprocess_and_train(*dataset: str) -> tuple[list[Clip], dict[str, Any]]:
    """Preprocess a data set in the current folder and train a narrow network for an epoch.

    Args:
        dataset: overrides that choose it, such as ``dataset=autsl``.

    Returns:
        The rows of the manifest, and the metrics of the run.
    """
    config = composed("preprocess", *dataset, "trim=cpu", "trim.workers=1", "probe=0")
    preprocess(config)
    clips = read_manifest(Path("data/metadata") / f"{config.dataset.name}_manifest.csv")
    trained = composed(
        *("train", *dataset, "model=narrow", "model.weights=null", "trainer=cpu", "trainer.max_epochs=1"),
        *("logger=[]", "data.clip_len=4", "data.batch_size=6", "data.resize=[40,48]", "data.crop_size=32"),
    )
    return clips, train(trained)
