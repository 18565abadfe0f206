"""Predictions, a row for each clip, as in ``predictions.csv``. All figures follow from them."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.contract.manifest import Clip, flags_are_clean
from asl.errors import UserError
from asl.files import atomic_write_text, read_csv
from asl.inference.prediction import rank_glosses, round_probability

TOP = 10  # glosses listed for each clip

_COLUMNS = (
    *("video_id", "split", "gloss", "label", "signer_id", "signer_in_train", "flags", "source", "site"),
    *("rank", "probability"),
)
_TOP_COLUMNS = tuple(name for place in range(1, TOP + 1) for name in (f"top{place}", f"p{place}"))
_SEEN = {True: "yes", False: "no", None: ""}


class PredictionsError(UserError):
    """A ``predictions.csv`` that is missing, malformed or of other clips."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network makes of one clip."""

    video_id: str
    split: str  # in which it was measured: train, val or test; wlasl_authors: its protocol's test
    gloss: str
    label: int
    signer_id: str  # empty if unknown
    signer_in_train: bool | None  # whether training has clips of the signer; None if the signer is unknown
    flags: str  # of the manifest, for the split in use
    source: str  # raw file, relative to dataset.root
    site: str  # web site, from the metadata; empty if unknown
    rank: int  # of the gloss, from 1; of glosses with equal probability the one with the lower label is first
    probability: float  # of the gloss
    top: tuple[tuple[str, float], ...]  # the first TOP glosses with their probabilities, fewer if there are

    @property
    def is_clean(self) -> bool:
        """Whether no flag speaks against the clip, see :func:`~asl.contract.manifest.flags_are_clean`."""
        return flags_are_clean(self.flags)

    @property
    def predicted(self) -> str:
        """The gloss with the highest probability."""
        return self.top[0][0]

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return self.top[0][1]


def make_predictions(
    clips: Sequence[Clip],
    probabilities: npt.NDArray[np.float64],
    glosses: Sequence[str],
    *,
    figure: str,
    signers_in_train: Collection[str],
    sites: Mapping[str, str],
) -> list[Prediction]:
    """The predictions for clips.

    Args:
        clips: rows of the manifest.
        probabilities: ``(N, num_classes)``. They are rounded to 7 digits, as in the file.
        glosses: by label.
        figure: for which they are measured, see :meth:`SplitSettings.figure_on`.
        signers_in_train: ``signer_id`` of all training clips.
        sites: web site by ``video_id``.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    predictions = []
    for clip, row, labels in zip(clips, probabilities, order, strict=True):
        predictions.append(
            Prediction(
                video_id=clip.video_id,
                split=figure,
                gloss=clip.gloss,
                label=clip.label,
                signer_id=clip.signer_id,
                signer_in_train=clip.signer_id in signers_in_train if clip.signer_id else None,
                flags=clip.flags,
                source=clip.source,
                site=sites.get(clip.video_id, ""),
                rank=int(np.flatnonzero(labels == clip.label)[0]) + 1,
                probability=round_probability(row[clip.label]),
                top=rank_glosses(row, glosses, TOP),
            )
        )
    return predictions


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the CSV file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_TOP_COLUMNS])
    for one in predictions:
        values = {name: getattr(one, name) for name in _COLUMNS} | {
            "signer_in_train": _SEEN[one.signer_in_train]
        }
        top = [value for pair in one.top for value in pair]
        writer.writerow([*values.values(), *top, *[""] * (len(_TOP_COLUMNS) - len(top))])
    atomic_write_text(path, text.getvalue())


def read_predictions(path: Path | str) -> list[Prediction]:
    """Read what :func:`write_predictions` has written.

    Raises:
        PredictionsError: the file, a column or a value is missing, the file is no CSV in UTF-8, a value has
            the wrong type or is out of range, or a clip occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise PredictionsError(f"{path}: no such file. python evaluate.py writes predictions.csv")
    try:
        columns, rows = read_csv(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise PredictionsError(
            f"{path} is damaged, or no predictions.csv: {error}. Write it anew with: python evaluate.py"
        ) from None
    missing = [name for name in (*_COLUMNS, *_TOP_COLUMNS) if name not in columns]
    if missing:
        raise PredictionsError(
            f"{path}: column {missing[0]} is missing; it is no predictions.csv of python evaluate.py"
        )
    predictions = [_parse(row, f"{path}, line {line}") for line, row in rows]
    if not predictions:
        raise PredictionsError(f"{path} has no clips")
    seen: set[str] = set()
    for one in predictions:
        if one.video_id in seen:
            raise PredictionsError(f"{path}: clip {one.video_id} occurs twice")
        seen.add(one.video_id)
    return predictions


def _parse(row: Mapping[str, Any], where: str) -> Prediction:
    try:
        top = tuple(
            (row[f"top{place}"], float(row[f"p{place}"]))
            for place in range(1, TOP + 1)
            if row[f"top{place}"] or place == 1
        )
        prediction = Prediction(
            video_id=row["video_id"],
            split=row["split"],
            gloss=row["gloss"],
            label=int(row["label"]),
            signer_id="" if row["signer_id"] == "-1" else row["signer_id"],  # -1: of an earlier version
            signer_in_train={text: seen for seen, text in _SEEN.items()}[row["signer_in_train"]],
            flags=row["flags"],
            source=row["source"],
            site=row["site"],
            rank=int(row["rank"]),
            probability=float(row["probability"]),
            top=top,
        )
        if prediction.rank < 1:
            raise ValueError(f"rank={prediction.rank} is below 1")
        for value in (prediction.probability, *(value for _, value in top)):
            if not 0 <= value <= 1:
                raise ValueError(f"{value} is not a probability")
    except (KeyError, TypeError, ValueError) as error:
        raise PredictionsError(
            f"{where} cannot be read: {error}. Write the file anew with: python evaluate.py"
        ) from None
    return prediction
