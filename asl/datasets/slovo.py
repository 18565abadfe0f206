"""Slovo (Kapitanov et al., 2023): 1,000 Russian signs by 194 signers.

``slovo.zip`` holds a file for each sign, ``slovo_full.zip`` the recordings, of which ``begin`` and ``end``
are frames. Whether these count from 0 or 1, with or without the last, is not documented, and ``length`` does
not tell: rows of 30 to 45 and 43 to 66 have 14 and 32. They are read as ``[begin, end)`` from 0, and a note
of the run says that a border may be a frame off. The rate is not in the table either: a recording of another
rate than ``dataset.fps`` is marked as suspect. Nor are the folders of the recordings documented, so they are
found by their names.

A further class, ``no_event``, is said to have recordings in which nobody signs. It is left out unless
``dataset.no_event=true``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from asl.config.setting import setting
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata, MetadataError
from asl.datasets.native_frames import span_of_frames
from asl.datasets.reading import make_instances, read_table, train_glosses_first

COLUMNS = ("attachment_id", "user_id", "text", "train", "begin", "end")
NO_EVENT = "no_event"
_SPLITS = {"True": "train", "False": "test"}


@dataclass(kw_only=True)
class Slovo(SignDataset):
    """The table, and the videos of signs or the recordings below ``dataset.root``."""

    metadata: str = setting("???", "annotations.csv, separated by tabs")
    trimmed: bool = setting(True, "slovo.zip; false: slovo_full.zip, in which each sign is a segment")
    fps: float | None = setting(None, "frame rate of the recordings, for trimmed=false", gt=0)
    no_event: bool = setting(False, "keep the class no_event, in which nobody signs")

    def load(self) -> Metadata:
        """Read the table. Glosses are sorted.

        Raises:
            MetadataError: the file or a column is missing, it cannot be read, or ``fps`` is needed.
        """
        if not self.trimmed and self.fps is None:
            raise MetadataError(
                "dataset.trimmed=false: set dataset.fps, the frame rate in which begin and end are counted"
            )
        rows = read_table(
            Path(self.metadata),
            columns=COLUMNS,
            key="dataset.metadata",
            how_to_get=self.how_to_get,
            delimiter="\t",
        )
        found, refused = make_instances(rows, self._instance)
        others = [one for one in found if one.gloss == NO_EVENT and not self.no_event]
        instances = [one for one in found if one.gloss != NO_EVENT or self.no_event]
        notes = []
        if others:
            notes.append(
                f"Slovo: videos of {NO_EVENT} left out: {len(others)} (dataset.no_event=true keeps them)"
            )
        if not self.trimmed:
            notes.append(
                f"Slovo: begin and end are read as frames [begin, end) from 0, {self.fps:g} a second. How "
                "they count is not documented: borders may be a frame off"
            )
        return Metadata(
            tuple(instances),
            train_glosses_first(instances),
            tuple(refused),
            others=tuple(others),
            notes=tuple(notes),
        )

    def _instance(self, row: dict[str, str]) -> Instance:
        if row["train"] not in _SPLITS:
            raise ValueError(f"train={row['train']!r} is neither True nor False")
        video_id, split = row["attachment_id"], _SPLITS[row["train"]]
        instance = Instance(
            video_id=video_id,
            gloss=row["text"],
            split=split,
            signer_id=row["user_id"],
        )
        if self.trimmed or self.fps is None:
            return replace(instance, path=f"{split}/{video_id}.mp4")
        if not (row["begin"].isdecimal() and row["end"].isdecimal()):
            raise ValueError(f"begin={row['begin']!r}, end={row['end']!r} are not two numbers of frames")
        start_s, end_s = span_of_frames(int(row["begin"]), int(row["end"]), self.fps)
        return replace(instance, start_s=start_s, end_s=end_s, source_fps=self.fps)
