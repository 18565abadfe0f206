"""Read metadata files: JSON, CSV and TSV, and make instances of their rows.

Metadata is untrusted: a file that cannot be used is one :class:`MetadataError` that names the key of the
configuration; a row that cannot be used is refused with its place and the reason, and the others are used.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from asl.contract.manifest import SPLITS
from asl.datasets.instance import Instance, MetadataError, Refused
from asl.datasets.names import name_problem, path_problem, text_problem
from asl.files import read_csv

Row = TypeVar("Row")


def read_json(path: Path, *, key: str, how_to_get: str = "") -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        key: of the configuration, which names it.
        how_to_get: appended to the message if the file is missing.

    Raises:
        MetadataError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path, key, how_to_get) from None
    except (OSError, ValueError) as error:
        raise MetadataError(f"{path}: not a JSON file: {error}") from None


def read_table(
    path: Path,
    *,
    columns: Sequence[str],
    key: str,
    how_to_get: str = "",
    delimiter: str = ",",
    header: bool = True,
) -> list[tuple[str, dict[str, str]]]:
    """The rows of a CSV or TSV file in UTF-8, each with its place: ``("a.csv, line 2", {column: value})``.

    Values are stripped; one that a row lacks is empty.

    Args:
        path: the file.
        columns: those that it must have; without ``header``, all of them in order.
        key: of the configuration, which names it.
        how_to_get: appended to the message if the file is missing.
        delimiter: ``"\\t"`` for TSV.
        header: whether the first line names the columns.

    Raises:
        MetadataError: the file or a column is missing, or it is no CSV in UTF-8.
    """
    try:
        found, rows = read_csv(path, delimiter=delimiter, columns=None if header else columns)
    except FileNotFoundError:
        raise _missing(path, key, how_to_get) from None
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path} ({key}) is not in UTF-8: {error}. Save it as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise MetadataError(f"{path} ({key}) cannot be read: {error}") from None
    found = [column.strip() for column in found]
    missing = [column for column in columns if column not in found]
    if missing:
        hint = f" (values must be separated by {delimiter!r})" if len(found) == 1 else ""
        columns_there = ", ".join(found) or "none"
        raise MetadataError(
            f"{path} ({key}): column {', '.join(missing)} is missing; it has {columns_there}{hint}"
        )
    return [
        (f"{path.name}, line {line}", {name.strip(): value.strip() for name, value in row.items() if name})
        for line, row in rows
    ]


def read_groups(path: Path, *, key: str, how_to_get: str = "") -> list[list[str]]:
    """Groups of texts: the lines of a CSV file in UTF-8, or a JSON list of lists.

    Args:
        path: the file; ``.json`` is JSON.
        key: of the configuration, which names it.
        how_to_get: appended to the message if the file is missing.

    Raises:
        MetadataError: the file is missing or of another form.
    """
    if path.suffix.lower() == ".json":
        groups = read_json(path, key=key, how_to_get=how_to_get)
        if not isinstance(groups, list) or not all(map(_is_text_list, groups)):
            raise MetadataError(f"{path} ({key}) is not a list of lists of texts")
    else:
        try:
            groups = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
        except FileNotFoundError:
            raise _missing(path, key, how_to_get) from None
        except (OSError, ValueError, csv.Error) as error:
            raise MetadataError(f"{path} ({key}) is not a CSV file in UTF-8: {error}") from None
    stripped = ([text.strip() for text in group if text.strip()] for group in groups)
    return [group for group in stripped if group]


def list_videos(root: Path, *, how_to_get: str = "") -> list[str]:
    """The video files below a folder, as sorted POSIX paths relative to it. Hidden files are skipped.

    Raises:
        MetadataError: the folder is missing or holds no video.
    """
    from asl.codecs.video_file import VIDEO_SUFFIXES  # imports av: when it is read, not when it is chosen

    videos = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
    )
    if not videos:
        hint = f"\n{how_to_get}" if how_to_get else ""
        raise MetadataError(f"{root}: no videos there (dataset.root).{hint}")
    return videos


def make_instances(
    rows: Iterable[tuple[str, Row]], make: Callable[[Row], Instance]
) -> tuple[list[Instance], list[Refused]]:
    """An instance for each row, and the rows that are refused.

    Equal instances count once. Different ones with the same video_id are all refused.

    Args:
        rows: each with its place, for messages.
        make: makes the instance; a ValueError refuses the row.
    """
    instances: list[Instance] = []
    refused: list[Refused] = []
    where_of: dict[str, list[str]] = {}
    for where, row in rows:
        video_id = str(row.get("video_id", "")) if isinstance(row, Mapping) else ""
        try:
            instance = make(row)
            video_id = instance.video_id
            if problem := instance_problem(instance):
                raise ValueError(problem)
        except ValueError as error:
            refused.append(Refused(video_id, f"{where}: {error}"))
            continue
        where_of.setdefault(instance.video_id, []).append(where)
        instances.append(instance)
    sound, conflicting = without_conflicts(instances)
    refused += [Refused(video_id, conflict_error(where_of[video_id], video_id)) for video_id in conflicting]
    return sound, refused


def train_glosses_first(instances: Sequence[Instance]) -> tuple[str, ...]:
    """The glosses in sorted order; those that are not in train come last."""
    in_train = {one.gloss for one in instances if one.split == "train"}
    return tuple(sorted({one.gloss for one in instances}, key=lambda gloss: (gloss not in in_train, gloss)))


def instance_problem(instance: Instance) -> str | None:
    """Why an instance cannot be used: a name, path, split or span. None if it can."""
    if problem := name_problem(instance.video_id):
        return f"video_id={instance.video_id!r} {problem}"
    if " " in instance.video_id:
        return f"video_id={instance.video_id!r} holds a blank"
    if problem := text_problem(instance.gloss):
        return f"gloss={instance.gloss!r} {problem}"
    if instance.split not in SPLITS:
        return f"split={instance.split!r} is not one of {', '.join(SPLITS)}"
    if instance.path and (problem := path_problem(instance.path)):
        return f"path={instance.path!r} {problem}"
    if instance.signer_id and (problem := text_problem(instance.signer_id)):
        return f"signer_id={instance.signer_id!r} {problem}"
    if instance.start_s < 0 or (instance.end_s is not None and instance.end_s <= instance.start_s):
        end_s = "the end" if instance.end_s is None else f"{float(instance.end_s):g} s"
        return f"the span from {float(instance.start_s):g} s to {end_s} is none"
    return None


def without_conflicts(instances: Sequence[Instance]) -> tuple[list[Instance], list[str]]:
    """Instances, equal ones once, without those whose video_id has different ones; and these video_ids."""
    distinct = list(dict.fromkeys(instances))
    times = Counter(instance.video_id for instance in distinct)
    sound = [instance for instance in distinct if times[instance.video_id] == 1]
    return sound, [video_id for video_id, count in times.items() if count > 1]


def conflict_error(places: Iterable[str], video_id: str) -> str:
    """Why rows with one video_id are refused."""
    return f"{' and '.join(places)}: video_id={video_id!r} for different instances"


def parse_seconds(value: str | float, name: str) -> Fraction:
    """A time in seconds, exact to a microsecond.

    Raises:
        ValueError: it is not a number of seconds from 0; the message begins with ``name``.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name}={value!r} is not a number of seconds from 0")
    return Fraction(seconds).limit_denominator(1_000_000)


def _missing(path: Path, key: str, how_to_get: str) -> MetadataError:
    hint = f"\n{how_to_get}" if how_to_get else ""
    return MetadataError(f"{path}: no such metadata file ({key}).{hint}")


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
