"""Which clips the page shows with thumbnails: the contact sheet, pairs, and suspects."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from asl.contract.manifest import SPLITS, Clip
from asl.preprocess.audit.pairs import Pair

#: The largest numbers that are shown with thumbnails. Further pairs and suspects are only listed.
MAX_SHEET, MAX_PAIRS, MAX_SUSPECTS = 60, 40, 20


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The clips that the page shows with thumbnails."""

    sheet: tuple[Clip, ...] = ()
    pairs: tuple[Pair, ...] = ()
    suspects: tuple[tuple[Clip, Clip | None], ...] = ()  # with another clip of the gloss, see with_reference

    @property
    def video_ids(self) -> set[str]:
        """The instances in it, with or without a clip."""
        shown = {clip.video_id for clip in self.sheet}
        shown |= {video_id for pair in self.pairs for video_id in (pair.first, pair.second)}
        return shown | {clip.video_id for both in self.suspects for clip in both if clip is not None}


def select_clips(
    clips: Sequence[Clip],
    pairs: Sequence[Pair],
    suspects: Collection[str],
    has_clip: Collection[str],
    *,
    seed: int,
) -> Selection:
    """Choose the clips to show.

    Args:
        clips: the manifest's rows.
        pairs: that the audit found.
        suspects: video_ids whose match is doubtful.
        has_clip: video_ids of all clips, also of those that the audit dropped from the manifest.
        seed: of the contact sheet's random sample.
    """
    return Selection(
        sheet=tuple(contact_sheet(clips, MAX_SHEET, seed=seed)),
        pairs=tuple(by_severity(pairs, has_clip)[:MAX_PAIRS]),
        suspects=tuple(with_reference(clips, suspects)[:MAX_SUSPECTS]),
    )


def contact_sheet(clips: Sequence[Clip], size: int, *, seed: int) -> list[Clip]:
    """A random sample of clips, spread evenly over splits and glosses.

    Each split in turn gives a clip of the gloss that was chosen least often. The result does not depend on
    the order of ``clips``, and is sorted by gloss and split.
    """
    shuffled = sorted(clips, key=lambda clip: clip.video_id)
    random.Random(seed).shuffle(shuffled)
    left = {split: [clip for clip in shuffled if clip.split == split] for split in SPLITS}
    chosen_of: Counter[str] = Counter()  # by gloss
    sample: list[Clip] = []
    while len(sample) < size and any(left.values()):
        for split in [split for split in SPLITS if left[split]][: size - len(sample)]:
            clip = min(left[split], key=lambda clip: chosen_of[clip.gloss])  # the first of several
            left[split].remove(clip)
            chosen_of[clip.gloss] += 1
            sample.append(clip)
    return sorted(sample, key=lambda clip: (clip.label, SPLITS.index(clip.split), clip.video_id))


def by_severity(pairs: Iterable[Pair], has_clip: Collection[str]) -> list[Pair]:
    """The pairs, most severe first.

    Leakage and conflicts come before duplicates. Of these, pairs of two clips come first, and then leakage
    with a conflict, leakage, conflicts.
    """

    def order(pair: Pair) -> tuple[bool, int, int, str, str]:
        severity = 2 * pair.is_leakage + pair.is_conflict
        clips = (pair.first in has_clip) + (pair.second in has_clip)
        return (severity == 0, -clips, -severity, pair.first, pair.second)

    return sorted(pairs, key=order)


def with_reference(clips: Iterable[Clip], suspects: Collection[str]) -> list[tuple[Clip, Clip | None]]:
    """Each suspect clip with a clip of its gloss that is not suspect.

    The reference is of the same signer if possible. It is None if every clip of the gloss is suspect.
    """
    clips = sorted(clips, key=lambda clip: clip.video_id)
    references: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.video_id not in suspects:
            references.setdefault(clip.gloss, []).append(clip)

    def reference(suspect: Clip) -> Clip | None:
        others = references.get(suspect.gloss, [])
        return min(others, key=lambda other: other.signer_id != suspect.signer_id, default=None)

    return [(clip, reference(clip)) for clip in clips if clip.video_id in suspects]
