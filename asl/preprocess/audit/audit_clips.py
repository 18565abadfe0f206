"""The audit of a run: from proven clips to the rows of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asl.contract.manifest import Clip
from asl.datasets.instance import Instance
from asl.preprocess.audit.audit import Audit, audit
from asl.preprocess.audit.manifest_columns import leaking_train_clips, with_flags_and_copies
from asl.preprocess.audit.pairs import Compare, find_pairs
from asl.preprocess.audit.settings import AuditSettings
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.matching import Match, Unmatched


def audit_clips(
    clips: Sequence[Clip],
    instances: Sequence[Instance],
    matches: Mapping[str, Match | Unmatched],
    proofs: Mapping[str, Proof],
    settings: AuditSettings,
    compare: Compare,
) -> tuple[list[Clip], Audit, dict[str, list[str]]]:
    """Find pairs, drop leaking training clips if ``settings`` ask for it, and fill in flags and copies.

    Args:
        clips: rows of the manifest, without flags.
        instances: all of the data set.
        matches: their sources, by video_id.
        proofs: of the clips, by video_id.
        settings: what is looked for, and what is dropped.
        compare: confirms clips that may be copies.

    Returns:
        The rows that stay, what was found, and the copies of each dropped clip by its video_id.
    """
    fingerprints = {clip.video_id: (proofs[clip.video_id].fingerprint, clip.duration_s) for clip in clips}
    pairs, rejected = find_pairs(instances, fingerprints, compare)
    dropped = leaking_train_clips(pairs, clips) if settings.leakage == "drop_train" else {}
    kept = [clip for clip in clips if clip.video_id not in dropped]
    found = audit(
        instances,
        kept,
        pairs,
        min_per_class=settings.min_per_class,
        dropped=dropped,
        rejected=rejected,
    )
    suspects = [video_id for video_id, one in matches.items() if isinstance(one, Match) and one.objection]
    bitstream = [video_id for video_id, proof in proofs.items() if proof.bitstream]
    return with_flags_and_copies(kept, pairs, suspects, bitstream), found, dropped
