"""The keys of ``data``: from the manifest to batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asl.config.setting import setting
from asl.data.sampling import Sampling
from asl.data.split import SplitSettings


@dataclass(kw_only=True)
class DataSettings(Sampling, SplitSettings):
    """Which clips, which of their frames, and how many at once."""

    manifest: str = setting("${paths.metadata_dir}/${dataset.name}_manifest.csv", "written by preprocess.py")
    label_map: str | None = setting(None, "glosses by label; null: x_label_map.json beside x_manifest.csv")
    resize: list[int] = setting([128, 171], "height, width to which the reader scales frames", ge=8)
    crop_size: int = setting(112, "height and width of what the model sees", ge=8)
    balance: bool = setting(True, "draw training clips with weight 1 / class frequency")
    batch_size: int = setting(16, "clips a step and device", ge=1)
    num_workers: int | None = setting(
        None, "reader processes, where any are needed; null: one a core, at most 16", ge=0
    )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width to which the reader scales frames."""
        return self.resize[0], self.resize[1]

    def problems(self) -> Iterator[str]:
        """Settings that contradict each other."""
        yield from super().problems()
        if self.crop_size > min(self.resize):
            yield f"data.crop_size={self.crop_size}: does not fit into data.resize={self.resize}"
