"""Corrected glosses: single instances by ``dataset.relabel``, glosses of one sign by ``dataset.merge``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from asl.datasets.instance import Instance, Metadata, MetadataError
from asl.datasets.names import text_problem
from asl.datasets.reading import read_groups, read_table
from asl.messages import first_few


def relabel_instances(metadata: Metadata, path: Path) -> Metadata:
    """Give instances the glosses of a CSV file; those with an empty one are left out.

    New glosses get the last labels. A note says how many instances changed, and which ids are unknown.

    Args:
        metadata: of the data set.
        path: a CSV file with the columns video_id (as in the manifest) and gloss.

    Raises:
        MetadataError: the file is missing, has other columns, an impossible gloss, or two for one video_id.
    """
    gloss_of: dict[str, str] = {}
    for where, row in read_table(path, columns=("video_id", "gloss"), key="dataset.relabel"):
        video_id, gloss = row["video_id"], row["gloss"]
        if gloss and (problem := text_problem(gloss)):
            raise MetadataError(f"{where} (dataset.relabel): gloss={gloss!r} {problem}")
        earlier = gloss_of.setdefault(video_id, gloss)
        if gloss != earlier:
            raise MetadataError(
                f"{where} (dataset.relabel): video_id={video_id!r} is there twice, with {earlier!r} and "
                f"{gloss!r}. Keep one of them"
            )
    corrected = [
        dataclasses.replace(one, gloss=gloss_of.get(one.video_id, one.gloss)) for one in metadata.instances
    ]
    kept = [one for one in corrected if one.gloss]
    changed = sum(one.gloss != old.gloss for one, old in zip(corrected, metadata.instances, strict=True))
    left_out = [one for one in metadata.instances if gloss_of.get(one.video_id) == ""]
    note = (
        f"dataset.relabel: {changed - len(left_out)} of {len(corrected)} instances relabelled, "
        f"{len(left_out)} left out"
    )
    unknown = gloss_of.keys() - {one.video_id for one in (*metadata.instances, *metadata.others)}
    if unknown:
        note += f"; video_ids without an instance ({len(unknown)}): {first_few(sorted(unknown))}"
    glosses = [*metadata.glosses, *(one.gloss for one in kept)]
    others = (*metadata.others, *left_out)  # a raw file may be theirs
    return dataclasses.replace(_with(metadata, kept, glosses, note), others=others)


def merge_glosses(metadata: Metadata, path: Path) -> Metadata:
    """Replace each gloss of a group by the group's first one, which takes the first label of the group.

    A note says how many glosses and instances changed, and which glosses are unknown.

    Args:
        metadata: of the data set.
        path: a group on each line, separated by commas, or a JSON list of lists.

    Raises:
        MetadataError: the file is missing or of another form, or a gloss is in two groups.
    """
    first_of: dict[str, str] = {}
    for first, *others in read_groups(path, key="dataset.merge"):
        for gloss in dict.fromkeys((first, *others)):
            if gloss in first_of:
                raise MetadataError(
                    f"{path} (dataset.merge): {gloss!r} is in two groups, those of {first_of[gloss]!r} and "
                    f"{first!r}. Make one group of them, or remove it from one"
                )
            first_of[gloss] = first
    instances = [
        dataclasses.replace(one, gloss=first_of.get(one.gloss, one.gloss)) for one in metadata.instances
    ]
    changed = sum(one != old for one, old in zip(instances, metadata.instances, strict=True))
    glosses = list(dict.fromkeys(first_of.get(gloss, gloss) for gloss in metadata.glosses))
    note = (
        f"dataset.merge: {len(metadata.glosses)} glosses became {len(glosses)}; {changed} of "
        f"{len(instances)} instances relabelled"
    )
    unknown = first_of.keys() - set(metadata.glosses)
    if unknown:
        note += f"; not in the data set ({len(unknown)}): {first_few(sorted(unknown))}"
    return _with(metadata, instances, glosses, note)


def _with(metadata: Metadata, instances: Sequence[Instance], glosses: Sequence[str], note: str) -> Metadata:
    """The metadata with other instances, and without the glosses that lost all of theirs."""
    used = {one.gloss for one in instances}
    lost = {one.gloss for one in metadata.instances} - used
    return dataclasses.replace(
        metadata,
        instances=tuple(instances),
        glosses=tuple(gloss for gloss in dict.fromkeys(glosses) if gloss not in lost),
        notes=(*metadata.notes, note),
    )
