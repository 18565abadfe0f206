"""Sem-Lex (Kezar et al., 2023): American signs, most of them labelled as in ASL-LEX.

The table has 91,148 rows for 88,174 videos; some are in two splits. A video in several splits is used in the
last one of train, val and test, so that nobody trains on what is measured and test stays whole; its other
rows are refused. So are rows that give a video two labels or signers, and the label "na", which may mean
that there is none. Hundreds of files have the content of another one: the audit finds these.

Where the archives put the videos is not documented, so they are found by their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asl.config.setting import setting
from asl.contract.manifest import SPLITS
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata, MetadataError, Refused
from asl.datasets.reading import make_instances, read_table, train_glosses_first

COLUMNS = ("video_id", "signer_id", "split", "label_type", "label")
LABEL_TYPES = ("asllex", "signbank", "freetext")

Row = dict[str, str]


@dataclass(kw_only=True)
class SemLex(SignDataset):
    """The table and the videos, ``{video_id}.webm`` in any folder below ``dataset.root``."""

    metadata: str = setting("???", "semlex_metadata.csv")
    label_types: list[str] = setting(
        ["asllex"],
        "whose labels are glosses; the other rows are left out",
        choices=LABEL_TYPES,
        any_length=True,
    )

    def load(self) -> Metadata:
        """Read the table. Glosses are sorted; a label that has several types is a gloss for each.

        Raises:
            MetadataError: the file or a column is missing, or no row has one of the types.
        """
        path = Path(self.metadata)
        table = read_table(path, columns=COLUMNS, key="dataset.metadata", how_to_get=self.how_to_get)
        rows = [(where, row) for where, row in table if row["label_type"] in self.label_types]
        if not rows:
            raise MetadataError(f"{path}: no row has label_type={' or '.join(self.label_types)}")
        rows, refused = _held_out_once(rows)
        types_of = Counter(label for _, label in {(row["label_type"], row["label"]) for _, row in rows})
        instances, refused_rows = make_instances(rows, lambda row: _instance(row, types_of))
        return Metadata(tuple(instances), train_glosses_first(instances), (*refused, *refused_rows))


def _held_out_once(rows: list[tuple[str, Row]]) -> tuple[list[tuple[str, Row]], list[Refused]]:
    """The rows without those whose video is in a later split, too; and these."""
    split_of: dict[str, str] = {}
    for _, row in rows:
        video_id, split = row["video_id"], row["split"]
        if split in SPLITS:
            split_of[video_id] = max(split_of.get(video_id, split), split, key=SPLITS.index)
    kept: list[tuple[str, Row]] = []
    refused: list[Refused] = []
    for where, row in rows:
        split = split_of.get(row["video_id"], row["split"])
        if row["split"] == split or row["split"] not in SPLITS:
            kept.append((where, row))
        else:
            error = f"{where}: video_id={row['video_id']!r} is in {split}, too, and used there"
            refused.append(Refused(row["video_id"], error))
    return kept, refused


def _instance(row: Row, types_of: Mapping[str, int]) -> Instance:
    label = row["label"]
    if label == "na":
        raise ValueError("label='na' may mean that there is none")
    return Instance(
        video_id=row["video_id"],
        gloss=label if types_of[label] == 1 else f"{label} ({row['label_type']})",
        split=row["split"],
        signer_id=row["signer_id"],
    )
