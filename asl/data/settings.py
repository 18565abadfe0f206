"""The configuration group ``data``: which clips, which of their frames, and the batch size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asl.config.setting import as_override, setting
from asl.contract.manifest import manifest_name
from asl.data.framing import Framing
from asl.data.join_manifests import FIRST, UNION
from asl.data.sampling import Sampling
from asl.data.split import SplitSettings
from asl.machine import available_cores

KEEP, DROP_TRAIN = "keep", "drop_train"

_MAX_WORKERS = 16  # reader processes if num_workers is null


@dataclass(kw_only=True)
class ManifestSettings:
    """Where the clips are, and how many are read at a time."""

    manifest: Any = setting(  # OmegaConf has no type for a string or a list of strings
        "${paths.metadata_dir}/${dataset.name}_manifest.csv",
        "manifest file, written by preprocess.py; several as [a_manifest.csv,b_manifest.csv]",
    )
    label_map: str | None = setting(
        None, "label map file (class index of each gloss); null: x_label_map.json beside x_manifest.csv"
    )
    batch_size: int = setting(16, "clips per step and device", ge=1)
    num_workers: int | None = setting(
        None,
        "processes that read clips (in training only with reader=decord); null: one per core, at most 16",
        ge=0,
    )

    @property
    def reader_processes(self) -> int:
        """Number of processes that read clips."""
        return min(_MAX_WORKERS, available_cores()) if self.num_workers is None else self.num_workers

    @property
    def manifests(self) -> list[Path]:
        """The manifest files."""
        return [Path(one) for one in (self.manifest if isinstance(self.manifest, list) else [self.manifest])]

    def dataset_names(self, dataset: str) -> list[str]:
        """The names of the data sets: ``dataset``, the chosen one, or those of several manifests."""
        return [dataset] if len(self.manifests) == 1 else [manifest_name(one) for one in self.manifests]

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting that contradicts another one."""
        names = self.manifest if isinstance(self.manifest, list) else [self.manifest]
        if not names or not all(isinstance(name, str) and name for name in names):
            yield (
                f"data.manifest={as_override(self.manifest)}: name a manifest file, or several as "
                "data.manifest=[a_manifest.csv,b_manifest.csv]"
            )
        elif len(names) > 1 and self.label_map is not None:
            yield (
                f"data.label_map={self.label_map}: several manifests have the label maps beside them, so "
                "data.label_map must be null"
            )


@dataclass(kw_only=True)
class DataSettings(Sampling, SplitSettings, Framing, ManifestSettings):
    """Which clips are used, which of their frames are drawn, and how batches are made of them."""

    labels: str = setting(
        UNION,
        "of several manifests; union: all glosses, equal ones are one class; first: the glosses of the first "
        "manifest, clips of others are left out",
        choices=[UNION, FIRST],
    )
    flags: str = setting(
        KEEP,
        "training clips with a flag in the manifest, other than duplicate; keep: train on them; drop_train: "
        "leave them out. Val and test keep all clips",
        choices=[KEEP, DROP_TRAIN],
    )
    balance: bool = setting(True, "draw training clips with weight 1 / class frequency")

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting that contradicts another one."""
        yield from SplitSettings.problems(self)
        yield from Framing.problems(self)
        yield from ManifestSettings.problems(self)
