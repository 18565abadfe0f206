"""AUTSL (Sincan & Keles, 2020): 226 Turkish signs by 43 signers, a file for each sign.

The splits have no signer in common. The gloss is the Turkish name; whether all names differ is not known, so
classes of one name stay apart. Each sign has a second file with depth, which is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asl.config.setting import setting
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata, MetadataError
from asl.datasets.names import distinct_glosses
from asl.datasets.reading import make_instances, read_table

#: The tables of labels; that of val has another name beside the code of SAM-SLR.
TABLES = {
    "train": ("train_labels.csv",),
    "val": ("validation_labels.csv", "val_gt.csv"),
    "test": ("test_labels.csv",),
}
_SAMPLE = re.compile(r"signer(\d+)_sample\d+")


@dataclass(kw_only=True)
class Autsl(SignDataset):
    """The tables and the unpacked archives; ``dataset.root`` holds the folders train, val and test."""

    metadata: str = setting("???", "the folder of the tables of labels and of SignList_ClassId_TR_EN.csv")

    def load(self) -> Metadata:
        """Read the tables. Labels are the authors' own.

        Raises:
            MetadataError: a table or a column is missing, or it cannot be used.
        """
        folder = Path(self.metadata)
        names: dict[int, str] = {}
        for where, row in self._read(folder / "SignList_ClassId_TR_EN.csv", ("ClassId", "TR")):
            if not row["ClassId"].isdecimal() or not row["TR"] or int(row["ClassId"]) in names:
                raise MetadataError(
                    f"{where}: ClassId={row['ClassId']!r}, TR={row['TR']!r} is no new class with a name"
                )
            names[int(row["ClassId"])] = row["TR"]
        gloss_of = distinct_glosses(dict(sorted(names.items())))
        rows = [
            (where, {**row, "split": split})
            for split, files in TABLES.items()
            for where, row in self._read(_first_of(folder, files), ("sample", "label"), header=False)
        ]
        instances, refused = make_instances(rows, lambda row: _instance(row, gloss_of))
        return Metadata(tuple(instances), tuple(gloss_of.values()), tuple(refused))

    def _read(
        self, path: Path, columns: tuple[str, ...], *, header: bool = True
    ) -> list[tuple[str, dict[str, str]]]:
        return read_table(
            path, columns=columns, key="dataset.metadata", how_to_get=self.how_to_get, header=header
        )


def _first_of(folder: Path, files: tuple[str, ...]) -> Path:
    """The first file that there is, or the first one."""
    paths = [folder / file for file in files]
    return next((path for path in paths if path.is_file()), paths[0])


def _instance(row: dict[str, str], gloss_of: Mapping[int, str]) -> Instance:
    sample, label = _SAMPLE.fullmatch(row["sample"]), row["label"]
    if sample is None:
        raise ValueError(f"{row['sample']!r} is not of the form signer0_sample1")
    if not label.isdecimal() or int(label) not in gloss_of:
        raise ValueError(f"label={label!r} is no ClassId of SignList_ClassId_TR_EN.csv")
    return Instance(
        video_id=row["sample"],
        gloss=gloss_of[int(label)],
        split=row["split"],
        path=f"{row['split']}/{row['sample']}_color.mp4",
        signer_id=sample[1],
    )
