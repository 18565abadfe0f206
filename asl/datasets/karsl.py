"""KArSL (Sidig et al., 2021): up to 502 Arabic signs by 3 signers, a file for each sign.

A video lies in ``.../{train,test}/.../{SignID}/``, and its signer's folder, 01, 02 or 03, somewhere above.
KArSL-190 is read as the signs up to 190, as the ranges in the folders' names suggest. Signers are in both
splits; ``data.split=signer data.folds=3`` in training makes others. Copies with a folder of pictures for
each sign cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asl.config.setting import setting
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata, MetadataError
from asl.datasets.names import distinct_glosses, make_video_id
from asl.datasets.reading import list_videos, make_instances, read_table

SIGNERS = ("01", "02", "03")


@dataclass(kw_only=True)
class Karsl(SignDataset):
    """The videos below ``dataset.root`` and the table of signs."""

    labels: str = setting("???", "KARSL-502_Labels.xlsx, saved as CSV in UTF-8: SignID and the names")
    language: str = setting(
        "Arabic", "of the glosses, from the column Sign-{language}", choices=("Arabic", "English")
    )
    num_glosses: int = setting(502, "keep the signs with a SignID up to N", ge=1)

    def load(self) -> Metadata:
        """Find the videos. Labels are the authors' SignID, less one.

        Raises:
            MetadataError: there are no videos, or the table is missing or cannot be used.
        """
        gloss_of = self._glosses()
        rows = [(path, path) for path in list_videos(Path(self.root), how_to_get=self.how_to_get)]
        found, refused = make_instances(rows, lambda path: self._instance(path, gloss_of))
        glosses = tuple(gloss for number, gloss in gloss_of.items() if number <= self.num_glosses)
        kept = set(glosses)
        unknown = sum(not one.signer_id for one in found)
        note = f"KArSL: videos of unknown signers, without a folder 01, 02 or 03 above them: {unknown}"
        return Metadata(
            tuple(one for one in found if one.gloss in kept),
            glosses,
            tuple(refused),
            others=tuple(one for one in found if one.gloss not in kept),
            notes=(note,) if unknown else (),
        )

    def _glosses(self) -> dict[int, str]:
        column = f"Sign-{self.language}"
        rows = read_table(
            Path(self.labels), columns=("SignID", column), key="dataset.labels", how_to_get=self.how_to_get
        )
        names: dict[int, str] = {}
        for where, row in rows:
            if not row["SignID"].isdecimal() or not row[column] or int(row["SignID"]) in names:
                raise MetadataError(
                    f"{where}: SignID={row['SignID']!r}, {column}={row[column]!r} is no new sign with a name"
                )
            names[int(row["SignID"])] = row[column]
        return distinct_glosses(dict(sorted(names.items())))

    def _instance(self, path: str, gloss_of: Mapping[int, str]) -> Instance:
        folders = PurePosixPath(path).parts[:-1]
        splits = {folder for folder in folders if folder in ("train", "test")}
        if len(splits) != 1:
            where = (
                "in folders of both train and test"
                if splits
                else "neither in a folder train nor in a folder test"
            )
            raise ValueError(f"it lies {where}")
        if (
            not folders
            or not re.fullmatch(r"\d{4}", folders[-1], re.ASCII)
            or int(folders[-1]) not in gloss_of
        ):
            raise ValueError("its folder is not the four digits of a SignID in dataset.labels")
        signers = {folder for folder in folders if folder in SIGNERS}
        if len(signers) > 1:
            raise ValueError(f"it lies in the folders of {len(signers)} signers")
        return Instance(
            video_id=make_video_id(path),
            gloss=gloss_of[int(folders[-1])],
            split=splits.pop(),
            path=path,
            signer_id=signers.pop() if signers else "",
        )
