"""The base class of data sets; ``dataset=...`` in the configuration chooses one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asl.config.setting import setting
from asl.datasets.instance import Metadata
from asl.datasets.made_split import with_split
from asl.datasets.relabel import merge_glosses, relabel_instances


@dataclass(kw_only=True)
class SignDataset:
    """A data set: its name and its metadata. Each data set has a subclass and a YAML in ``conf/dataset``."""

    name: str = setting("???", "prefix of the names of the manifest and the label map")
    root: str = setting("${paths.raw_dir}", "folder of the raw videos, searched recursively")
    how_to_get: str = setting("", "shown when the metadata is missing")
    relabel: str | None = setting(
        None, "CSV file of video_id and gloss: corrected glosses; an empty one leaves the instance out"
    )
    merge: str | None = setting(
        None,
        "file of glosses that mean the same sign: a group on each line, separated by commas, or a JSON list "
        "of lists; the first one is kept",
    )
    val_share: float = setting(
        0.15,
        "share of train that becomes val in a data set without val: whole signers, or of each gloss where "
        "signers are unknown",
        gt=0,
        lt=1,
    )
    test_share: float = setting(
        0.15, "as val_share, of test, in a data set that has neither val nor test", gt=0, lt=1
    )
    split_seed: int = setting(0, "seed of the splits that the data set does not have", ge=0)

    def problems(self) -> Iterator[str]:
        """Yield a message if the YAML file of the choice names no class."""
        if type(self) is SignDataset:
            yield "dataset: the YAML file of this choice must name a class: _target_: module.Class"

    def load(self) -> Metadata:
        """Read the metadata, with the splits that the data set has.

        Raises:
            MetadataError: a file is missing or cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__}.load")

    def load_with_splits(self) -> Metadata:
        """The metadata of :meth:`load` after ``relabel`` and ``merge``, with all splits.

        If there is no val, a part of train is; if all of it is train, another part is test.

        Raises:
            MetadataError: a file is missing or cannot be used.
        """
        metadata = self.load()
        if self.relabel is not None:
            metadata = relabel_instances(metadata, Path(self.relabel))
        if self.merge is not None:
            metadata = merge_glosses(metadata, Path(self.merge))
        shares = {"val": self.val_share}
        if {one.split for one in metadata.instances} == {"train"}:
            shares["test"] = self.test_share
        for split, share in shares.items():
            metadata = with_split(metadata, split, share=share, seed=self.split_seed)
        return metadata
