"""INCLUDE (Sridhar et al., 2020): 263 Indian signs in 15 categories, a file for each sign.

Words carry a number, which is removed unless two words would become one. Names of files are not unique, and
a path may write its category otherwise than the column does, so only ``FilePath`` is used. "Second (Number)"
and "81. Second" are one class, but OpenHands skips the files of the first, which may not be in the archive:
they are kept as a gloss of their own, which ``dataset.merge`` can join. Signers are unknown, so a val made
from train shares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asl.config.setting import setting
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata
from asl.datasets.names import distinct_glosses, make_video_id
from asl.datasets.reading import make_instances, read_table, train_glosses_first

_NUMBER = re.compile(r"\d+\.\s*")


@dataclass(kw_only=True)
class Include(SignDataset):
    """The tables of a subset and the videos below ``dataset.root``."""

    splits: str = setting("???", "the folder of train_{subset}.csv and test_{subset}.csv")
    subset: str = setting("include", "all words, or 50 of them", choices=("include", "include50"))

    def load(self) -> Metadata:
        """Read the two tables. Glosses are sorted.

        Raises:
            MetadataError: a file or a column is missing, or it cannot be read.
        """
        rows = [
            (where, {**row, "split": split})
            for split in ("train", "test")
            for where, row in read_table(
                Path(self.splits) / f"{split}_{self.subset}.csv",
                columns=("Word", "FilePath"),
                key="dataset.splits",
                how_to_get=self.how_to_get,
            )
        ]
        gloss_of = distinct_glosses({row["Word"]: _NUMBER.sub("", row["Word"], count=1) for _, row in rows})
        instances, refused = make_instances(rows, lambda row: _instance(row, gloss_of))
        return Metadata(tuple(instances), train_glosses_first(instances), tuple(refused))


def _instance(row: dict[str, str], gloss_of: Mapping[str, str]) -> Instance:
    path = row["FilePath"].replace("\\", "/")
    if not path:
        raise ValueError("FilePath is empty")
    return Instance(video_id=make_video_id(path), gloss=gloss_of[row["Word"]], split=row["split"], path=path)
