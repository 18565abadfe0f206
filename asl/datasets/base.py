"""What a data set's settings have in common; ``dataset=...`` chooses one."""

from __future__ import annotations

from dataclasses import dataclass

from asl.config.setting import setting
from asl.datasets.instance import Metadata


@dataclass(kw_only=True)
class SignDataset:
    """A data set: its name, and how its metadata is read. A subclass and a YAML for each."""

    name: str = setting("???", "prefix of the names of the manifest and the label map")
    how_to_get: str = setting("", "shown when the metadata is missing")

    def load(self) -> Metadata:
        """Read the metadata.

        Raises:
            MetadataError: it is missing or cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__}.load")
