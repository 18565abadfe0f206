"""Join the clips of several manifests: one label for each gloss, and names that no two data sets share."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from asl.contract.manifest import Clip, ManifestError

UNION, FIRST = "union", "first"


def join_glosses(glosses_of: Sequence[Sequence[str]], labels: str) -> list[str]:
    """The glosses in the order of their labels. Equal glosses are one class.

    >>> join_glosses([["book", "go"], ["drink", "book"]], "union")
    ['book', 'go', 'drink']
    >>> join_glosses([["book", "go"], ["drink", "book"]], "first")
    ['book', 'go']

    Args:
        glosses_of: those of each manifest, by label.
        labels: ``union``: all glosses; ``first``: those of the first manifest.
    """
    used = glosses_of[:1] if labels == FIRST else glosses_of
    return list(dict.fromkeys(gloss for glosses in used for gloss in glosses))


def label_clips(clips: Iterable[Clip], glosses: Sequence[str]) -> list[Clip]:
    """The clips of these glosses, with the label of their gloss."""
    label_of = {gloss: label for label, gloss in enumerate(glosses)}
    return [dataclasses.replace(clip, label=label_of[clip.gloss]) for clip in clips if clip.gloss in label_of]


def join_clips(clips_of: Mapping[str, Sequence[Clip]]) -> list[Clip]:
    """The clips of several manifests, in order.

    A ``video_id`` or ``signer_id`` that occurs in more than one manifest is changed to ``{name}-{id}``, in
    ``copies``, too: equal ones mean different clips and persons.

    Args:
        clips_of: the clips of each manifest by the manifest's name.

    Raises:
        ManifestError: two manifests have a clip in common, or changed ids are not unique.
    """
    _check_disjoint(clips_of)
    video_ids = _in_several({clip.video_id for clip in clips} for clips in clips_of.values())
    signers = _in_several({clip.signer_id for clip in clips} for clips in clips_of.values()) - {""}
    joined: dict[str, Clip] = {}
    for name, clips in clips_of.items():

        def renamed(one: str, shared: set[str], name: str = name) -> str:
            return f"{name}-{one}" if one in shared else one

        for clip in clips:
            video_id = renamed(clip.video_id, video_ids)
            if video_id in joined:
                raise ManifestError(
                    f"data.manifest: the video_id {clip.video_id} of {name} is in another manifest, too, and "
                    f"so is {video_id}. Rename {name}_manifest.csv and its label map"
                )
            joined[video_id] = dataclasses.replace(
                clip,
                video_id=video_id,
                signer_id=renamed(clip.signer_id, signers),
                copies=" ".join(sorted(renamed(copy, video_ids) for copy in clip.copies.split())),
            )
    return list(joined.values())


def _in_several(sets: Iterable[set[str]]) -> set[str]:
    """What occurs in more than one of the sets."""
    counts = Counter(one for each in sets for one in each)
    return {one for one, count in counts.items() if count > 1}


def _check_disjoint(clips_of: Mapping[str, Sequence[Clip]]) -> None:
    """Raise ManifestError if two manifests share a clip's file, or id, gloss and segment of a clip."""
    owner: dict[Hashable, str] = {}
    for name, clips in clips_of.items():
        for clip in clips:
            for key in (clip.path, (clip.video_id, clip.gloss, clip.source, clip.start_s, clip.end_s)):
                other = owner.setdefault(key, name)
                if other != name:
                    raise ManifestError(
                        f"data.manifest: clip {clip.video_id} ({clip.path}) is in the manifests of {other} "
                        f"and {name}. Its accuracy would count twice, or it would be in two splits: train on "
                        "one of the two, or preprocess them into different folders if their videos differ "
                        "(paths.videos_dir)"
                    )
