"""The configuration of ``python evaluate.py``, composed of the settings of each part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import SPLITS
from asl.contract.paths import Paths
from asl.data.readers.base import ReaderSettings
from asl.data.settings import ManifestSettings
from asl.datasets.base import SignDataset
from asl.evaluation.probes import ALL, PROBES


@dataclass(kw_only=True)
class EvaluateConfig:
    """All keys of ``python evaluate.py``. The checkpoint decides which frames are drawn, and the split."""

    paths: Paths = field(default_factory=Paths)
    dataset: SignDataset = field(default_factory=SignDataset)
    data: ManifestSettings = field(default_factory=ManifestSettings)
    reader: ReaderSettings = field(default_factory=ReaderSettings)
    frames: FrameSettings = field(default_factory=FrameSettings)
    checkpoint: str = setting("${paths.checkpoint_dir}/best.pt", "the checkpoint that is measured")
    split: str = setting("test", "which clips of the checkpoint's split are measured", choices=SPLITS)
    views: int = setting(
        1, "temporal views whose probabilities are averaged; 1: the view of validation in training", ge=1
    )
    probe: str | None = setting(
        None,
        "also measure clips with frames shuffled, reversed, mirrored, or one frame repeated; all: each",
        choices=[*PROBES, ALL],
    )
    compare: list[str] = setting(
        [],
        "instead: predictions.csv of models on the same clips, as [a.csv,b.csv]; each against the first",
        any_length=True,
    )
    seeds: list[str] = setting(
        [],
        "instead: predictions.csv of runs that differ in their seed, as [a.csv,b.csv]: mean and spread",
        any_length=True,
    )
    output: str | None = setting(
        None, "folder of the results; null: evaluation/{checkpoint}-{split} beside the checkpoint"
    )
    accelerator: str = setting(
        "auto", "device type; auto: a GPU if there is one", choices=["auto", "cpu", "gpu"]
    )
    precision: str = setting(
        "32-true",
        "of the network; 32-true gives figures that hardly depend on rounding",
        choices=["32-true", "16-mixed", "bf16-mixed"],
    )
    resamples: int = setting(2000, "resamples of each bootstrap", ge=1000)
    seed: int = setting(0, "of the bootstrap and of probe=shuffle", ge=0)

    def problems(self) -> Iterator[str]:
        """Yield a message for lists of one file, and for two tasks in one command."""
        for key, files in (("compare", self.compare), ("seeds", self.seeds)):
            if len(files) == 1:
                yield f"{key}={files}: name at least two predictions.csv, as {key}=[first.csv,second.csv]"
        if self.compare and self.seeds:
            yield "compare and seeds: give only one of them"
