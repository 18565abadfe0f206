"""Start from a checkpoint of another run: its training clips must not be val or test clips of this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asl.contract.manifest import Clip
from asl.messages import first_few
from asl.model.networks.base import KINETICS
from asl.model.weights import read_state
from asl.training.checkpoints import CheckpointError
from asl.training.identity import clip_key


def check_unseen(weights: str, clips: Sequence[Clip]) -> str | None:
    """Check that the weights were not trained on clips that this run measures itself on.

    A clip is the same if source and segment are, whatever its gloss. Under another ``video_id``, its gloss
    must be the same, too.

    Args:
        weights: ``model.weights``.
        clips: the clips of this run, of all splits.

    Returns:
        Why it could not be checked. None if it was, or if the weights are of no checkpoint.

    Raises:
        CheckpointError: there are such clips. The message has their number.
    """
    if weights == KINETICS:
        return None
    _, info = read_state(Path(weights))
    if not info:
        return None
    if "clips" not in info:
        return f"{weights} is of an earlier version, which does not say on which clips it was trained"
    theirs, glosses = info["clips"], info["glosses"]
    trained_on, label_there = theirs["train"], {gloss: label for label, gloss in enumerate(glosses)}
    keys = set(trained_on.values())
    seen: dict[str, list[str]] = {}
    for clip in clips:
        if clip.split == "train":
            continue
        # Keys contain the label, which may be another one there.
        label = label_there.get(clip.gloss)
        key = None if label is None else clip_key(clip, label)
        if key is not None and theirs.get(clip.split, {}).get(clip.video_id) == key:
            continue  # measured there, too; copies within a data set's own split are found by the audit
        same_id = trained_on.get(clip.video_id)
        if key in keys or (
            same_id is not None and any(clip_key(clip, other) == same_id for other in range(len(glosses)))
        ):
            seen.setdefault(clip.split, []).append(clip.video_id)
    if seen:
        counts = " and ".join(f"{len(ids)} {split} clips" for split, ids in seen.items())
        named = first_few([video_id for ids in seen.values() for video_id in ids], most=3)
        raise CheckpointError(
            f"model.weights={weights} was trained on {counts} of this run ({named}), so their accuracy would "
            "say nothing about new clips. Start from other weights, or set dataset, protocol, data.split, "
            "data.folds, data.fold and data.fold_seed so that they are training clips, as they were there "
            f"(split {info.get('split', 'official')})"
        )
    return None
