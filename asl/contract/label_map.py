"""The label map: the gloss of each class index.

``{name}_label_map.json`` lies in the manifest's folder and has ``gloss2idx`` and ``idx2gloss`` (in JSON the
index is a string). Preprocessing writes it once and never changes it, so that labels stay the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from asl.contract.manifest import Clip, manifest_name
from asl.errors import UserError
from asl.files import atomic_write_text
from asl.messages import first_few

_LABEL_MAP = "_label_map.json"


class LabelMapError(UserError):
    """A label map that is missing, inconsistent, or does not fit the data."""


def label_map_path(manifest: Path) -> Path:
    """The label map of a manifest: ``x_label_map.json`` for ``x_manifest.csv``."""
    return manifest.with_name(manifest_name(manifest) + _LABEL_MAP)


def read_label_map(path: Path | str) -> list[str]:
    """The glosses in the order of their labels.

    Raises:
        LabelMapError: the file is missing, or ``gloss2idx`` and ``idx2gloss`` are not inverse to each other
            over 0, 1, 2, ...
    """
    path = Path(path)
    if not path.is_file():
        raise LabelMapError(
            f"{path}: no such label map. Write it with: python preprocess.py, or name another file with "
            "data.label_map=..."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        label_of, gloss_of = dict(content["gloss2idx"]), dict(content["idx2gloss"])
    except (OSError, ValueError, KeyError, TypeError):
        raise LabelMapError(
            f"{path}: not a label map with gloss2idx and idx2gloss. Mend it, or delete it and run: "
            "python preprocess.py"
        ) from None
    glosses = sorted(label_of, key=lambda gloss: str(label_of[gloss]).zfill(9))
    if [label_of[gloss] for gloss in glosses] != list(range(len(label_of))) or {
        str(i): gloss for gloss, i in label_of.items()
    } != gloss_of:
        raise LabelMapError(
            f"{path}: gloss2idx and idx2gloss are not each other's inverse over 0…{len(label_of) - 1}"
        )
    return glosses


def read_or_write_label_map(path: Path, glosses: Sequence[str]) -> dict[str, int]:
    """``{gloss: label}`` as in the file; if it is missing, glosses are numbered in this order and written.

    Raises:
        LabelMapError: the file is inconsistent, or one of ``glosses`` is missing in it.
    """
    if not path.exists():
        label_of = {gloss: label for label, gloss in enumerate(glosses)}
        content = {"gloss2idx": label_of, "idx2gloss": {str(i): gloss for gloss, i in label_of.items()}}
        atomic_write_text(path, json.dumps(content, indent=1, ensure_ascii=False))
        return label_of
    label_of = {gloss: label for label, gloss in enumerate(read_label_map(path))}
    unknown = [repr(gloss) for gloss in glosses if gloss not in label_of]
    if unknown:
        raise LabelMapError(
            f"{path} has no label for {first_few(unknown)} of the metadata. Use another dataset.name, or "
            "delete the file"
        )
    return label_of


def check_labels(path: Path, glosses: Sequence[str], clips: Iterable[Clip]) -> None:
    """Check that every clip has the label of its gloss.

    Args:
        path: the label map, for the message.
        glosses: by label.
        clips: of the manifest.

    Raises:
        LabelMapError: a clip has another label.
    """
    for clip in clips:
        if clip.label >= len(glosses) or glosses[clip.label] != clip.gloss:
            found = repr(glosses[clip.label]) if clip.label < len(glosses) else "nothing"
            raise LabelMapError(
                f"label {clip.label} of clip {clip.video_id} stands for {clip.gloss!r} in the manifest "
                f"and for {found} in {path}. Write the manifest anew with: python preprocess.py"
            )
