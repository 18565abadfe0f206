"""The base class of data sets; ``dataset=...`` in the configuration chooses one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asl.config.setting import setting
from asl.datasets.instance import Metadata


@dataclass(kw_only=True)
class SignDataset:
    """A data set: its name and its metadata. Each data set has a subclass and a YAML in ``conf/dataset``."""

    name: str = setting("???", "prefix of the names of the manifest and the label map")
    how_to_get: str = setting("", "shown when the metadata is missing")

    def problems(self) -> Iterator[str]:
        """Yield a message if the YAML file of the choice names no class."""
        if type(self) is SignDataset:
            yield "dataset: the YAML file of this choice must name a class: _target_: module.Class"

    def load(self) -> Metadata:
        """Read the metadata.

        Raises:
            MetadataError: a file is missing or cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__}.load")
