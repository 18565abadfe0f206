"""ASL Citizen (Desai et al., NeurIPS 2023): 2,731 glosses by 52 signers, a file for each sign.

The gloss is in the tables, not in the names of the files: some of these have further hyphens and dots. There
are 2,723 ASL-LEX codes only, so the class is the gloss, as in the authors' code. The splits share no signer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asl.config.setting import setting
from asl.contract.manifest import SPLITS
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata
from asl.datasets.names import make_video_id
from asl.datasets.reading import make_instances, read_table, train_glosses_first

COLUMNS = ("Participant ID", "Video file", "Gloss")


@dataclass(kw_only=True)
class AslCitizen(SignDataset):
    """The unpacked archive; ``dataset.root`` is the folder that holds ``videos``."""

    splits: str = setting("???", "the folder of train.csv, val.csv and test.csv")

    def load(self) -> Metadata:
        """Read the three tables. Glosses are numbered as in the authors' code: those of train, sorted.

        Raises:
            MetadataError: a file or a column is missing, or it cannot be read.
        """
        rows = [
            (where, {**row, "split": split})
            for split in SPLITS
            for where, row in read_table(
                Path(self.splits) / f"{split}.csv",
                columns=COLUMNS,
                key="dataset.splits",
                how_to_get=self.how_to_get,
            )
        ]
        instances, refused = make_instances(rows, _instance)
        return Metadata(tuple(instances), train_glosses_first(instances), tuple(refused))


def _instance(row: dict[str, str]) -> Instance:
    file = row["Video file"]
    return Instance(
        video_id=make_video_id(PurePosixPath(file).stem),
        gloss=row["Gloss"],
        split=row["split"],
        path=f"videos/{file}",
        signer_id=row["Participant ID"],
    )
