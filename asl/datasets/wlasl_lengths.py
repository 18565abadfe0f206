"""The lengths of WLASL's source files, as its authors published them in ``nslt_*.json``."""

from __future__ import annotations

import json
from pathlib import Path

from asl.datasets.instance import MetadataError


def find_lengths(lengths: str | None, metadata: Path, num_glosses: int | None) -> Path | None:
    """The file that ``dataset.lengths`` names. None if it is null, or ``auto`` and there is no such file.

    Args:
        lengths: a path, ``auto`` or None. ``auto`` is ``nslt_{num_glosses}.json`` beside the metadata.
        metadata: the metadata file.
        num_glosses: number of glosses that are used.
    """
    if lengths != "auto":
        return None if lengths is None else Path(lengths)
    path = metadata.with_name(f"nslt_{num_glosses}.json")
    return path if path.is_file() else None


def load_lengths(path: Path) -> dict[str, float]:
    """The number of frames at 25 fps of each source, by video_id.

    Args:
        path: a file of the form ``{video_id: {subset, action: [class, start, end]}}``; ``end`` counts.

    Raises:
        MetadataError: the file is missing or of another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(video_id): float(entry["action"][2]) for video_id, entry in content.items()}
    except FileNotFoundError:
        raise MetadataError(
            f"{path}: no such file (dataset.lengths). nslt_*.json lie in github.com/dxli94/WLASL; "
            "dataset.lengths=null does without"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        form = "{video_id: {action: [class, start, end]}}"
        raise MetadataError(f"{path}: not of the form {form} (dataset.lengths)") from None
