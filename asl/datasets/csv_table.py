"""Anyone's own data set: a CSV file with a row for each sign."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asl.config.setting import setting
from asl.datasets.base import SignDataset
from asl.datasets.instance import Box, Instance, Metadata
from asl.datasets.names import make_video_id
from asl.datasets.reading import make_instances, parse_seconds, read_table

REQUIRED = ("path", "gloss")
COLUMNS = (*REQUIRED, "split", "signer", "start_s", "end_s", "box")


@dataclass(kw_only=True)
class CsvTable(SignDataset):
    """A CSV or TSV file with the columns path and gloss; split, signer, start_s, end_s and box if known."""

    metadata: str = setting("???", "the CSV or TSV file; path in it is relative to dataset.root")
    delimiter: str | None = setting(None, "between values; null: tab in a .tsv file, else comma")

    def load(self) -> Metadata:
        """Read the file. Glosses are numbered in sorted order. A note lists columns that are not used.

        Raises:
            MetadataError: the file or a column is missing, or it cannot be read.
        """
        path = Path(self.metadata)
        rows = read_table(
            path,
            columns=REQUIRED,
            key="dataset.metadata",
            how_to_get=self.how_to_get,
            delimiter=self.delimiter or ("\t" if path.suffix.lower() == ".tsv" else ","),
        )
        split = "" if any(row.get("split") for _, row in rows) else "train"  # or nobody has one
        instances, refused = make_instances(
            rows, lambda row: self._instance({**row, "split": row.get("split") or split})
        )
        glosses = sorted({one.gloss for one in instances})
        return Metadata(tuple(instances), tuple(glosses), tuple(refused), notes=_unused(path, rows))

    def _instance(self, row: dict[str, str]) -> Instance:
        if not row["path"]:
            raise ValueError("path is empty")
        path = row["path"].replace("\\", "/")  # as Windows writes it
        start, end = row.get("start_s", ""), row.get("end_s", "")
        span = f"{start}-{end}" if start or end else ""
        return Instance(
            video_id=make_video_id("/".join(filter(None, [self.name, path, span, row["gloss"]]))),
            gloss=row["gloss"],
            split=row["split"],
            path=path,
            start_s=parse_seconds(start or "0", "start_s"),
            end_s=parse_seconds(end, "end_s") if end else None,
            box=parse_box(row["box"]) if row.get("box") else None,
            signer_id=row.get("signer", ""),
        )


def _unused(path: Path, rows: list[tuple[str, dict[str, str]]]) -> tuple[str, ...]:
    """A note with the columns that are not read. Empty if there are none."""
    columns = rows[0][1] if rows else {}
    unused = ", ".join(column for column in columns if column not in COLUMNS)
    if not unused:
        return ()
    return (f"{path} (dataset.metadata): columns not read: {unused}; it may have {', '.join(COLUMNS)}",)


def parse_box(text: str) -> Box:
    """A box of four numbers separated by blanks: left, top, right, bottom.

    They are shares of the picture if none is above 1, else pixels of the file.

    Raises:
        ValueError: it is no such box.
    """
    try:
        left, top, right, bottom = map(float, text.split())
    except ValueError:
        left = top = right = bottom = 0.0
    if not (0 <= left < right and 0 <= top < bottom):
        raise ValueError(f"box={text!r} is not left top right bottom, four numbers separated by blanks")
    return Box(left, top, right, bottom, "shares" if max(right, bottom) <= 1 else "pixels")
