"""The raw file that is an instance's source and how that is known, or why there is none.

The file at an instance's path is its source. Where the metadata gives no path, a raw file is *claimed* by
every instance whose video_id, YouTube id or URL name it bears. If all
claimants have the same URL, the file is theirs. Otherwise the name proves nothing: "apple.mp4" is the
name of four different videos of WLASL100, and 10 of its video_ids are also URL names of other instances.
Then the file's length must decide between them; where it does not, the file is given to none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from asl.codecs.video_file import VIDEO_SUFFIXES
from asl.contract.manifest import Box
from asl.datasets.instance import Instance
from asl.messages import first_few
from asl.preprocess.sources.evidence import Evidence, Verdict, box_in_shares
from asl.preprocess.sources.names import RULES, Claim, source_path, video_key
from asl.preprocess.sources.raw_files import RawVideo


@dataclass(frozen=True, slots=True)
class Match:
    """The source of an instance, and how it is known."""

    source: str  # relative to the raw folder
    rule: str  # one of RULES
    objection: str | None = None  # why it may be the wrong file nevertheless


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why an instance has no source."""

    reason: str  # a short cause, the same for all clips that it concerns: reports count by it
    detail: str  # what to do about it, in words
    candidates: tuple[str, ...] = ()  # raw files that bear its name
    rivals: tuple[str, ...] = ()  # video_ids of other videos that claim the same files


def signer_box(instance: Instance, found: Match, raw: RawVideo | None) -> Box | None:
    """The signer's box in shares of the source's picture.

    Args:
        instance: whose metadata has the box.
        found: its source.
        raw: the source's header.

    Returns:
        None if the box is unknown or does not fit the source, or the source is suspect.
    """
    if raw is None or found.objection:
        return None
    return box_in_shares(instance.box, raw.width, raw.height)


def match(
    instances: Sequence[Instance],
    claimed: Mapping[str, Sequence[Claim]],
    evidence: Evidence,
    *,
    suspect: str = "keep",
) -> dict[str, Match | Unmatched]:
    """The source of each instance, by video_id. The order of the input does not matter.

    Args:
        instances: those that need a source; claimants may include others.
        claimed: the claims by file, see :func:`~asl.preprocess.sources.names.claims`.
        evidence: decides where names do not, and may object where they do.
        suspect: ``drop`` leaves out matches to which the evidence objects, ``keep`` flags them.
    """
    owned: dict[str, list[tuple[str, str]]] = defaultdict(list)  # video_id -> (file, rule)
    contested: dict[str, list[str]] = defaultdict(list)  # video_id -> files that others claim too
    rivals: dict[str, set[str]] = defaultdict(set)
    for file, claimants in claimed.items():
        owner, by_evidence = owner_of(file, claimants, evidence)
        for instance, rule in claimants:
            if video_key(instance) == owner:
                owned[instance.video_id].append((file, "evidence" if by_evidence else rule))
            else:
                contested[instance.video_id].append(file)
                others = (other for other, _ in claimants if video_key(other) != video_key(instance))
                rivals[instance.video_id] |= {other.video_id for other in others}
    found: dict[str, Match | Unmatched] = {}
    for instance in instances:
        chosen = _choose(instance, owned[instance.video_id], evidence)
        if isinstance(chosen, Match) and chosen.objection and suspect == "drop":
            chosen = Unmatched("suspect", f"{chosen.source} {chosen.objection}", candidates=(chosen.source,))
        if chosen is None and contested[instance.video_id]:
            chosen = _contested(instance, contested[instance.video_id], rivals[instance.video_id])
        found[instance.video_id] = chosen or Unmatched("no file", _how_to_get(instance))
    return found


def _how_to_get(instance: Instance) -> str:
    """What to do about an instance without a file."""
    file = f"{source_path(instance)} below dataset.root" if instance.path else f"{instance.video_id}.mp4"
    return f"download {instance.url} as {file}" if instance.url else f"put it at {file}"


def owner_of(file: str, claimants: Sequence[Claim], evidence: Evidence) -> tuple[str | None, bool]:
    """The video that a file is, and whether that was decided by evidence.

    A contested file is given to a video only if its length matches that video and every other one is ruled
    out: by the length, or because the picture contains the owner's box but cannot contain the other's.

    Returns:
        The video's key, see :func:`~asl.preprocess.sources.names.video_key`, or None if undecided; and
        False if all claimants have the same video.
    """
    videos: dict[str, list[Instance]] = defaultdict(list)
    for instance, _ in claimants:
        videos[video_key(instance)].append(instance)
    if len(videos) == 1:
        return next(iter(videos)), False

    lengths = {key: {evidence.length(one, file) for one in members} for key, members in videos.items()}
    possible = [key for key, verdicts in lengths.items() if verdicts != {Verdict.RULED_OUT}]
    if len(possible) > 1:
        boxes = {key: {evidence.box(one, file) for one in videos[key]} for key in possible}
        if any(verdicts == {Verdict.MATCHES} for verdicts in boxes.values()):
            possible = [key for key in possible if boxes[key] != {Verdict.RULED_OUT}]
    if len(possible) == 1 and Verdict.MATCHES in lengths[possible[0]]:
        return possible[0], True
    return None, True


def _choose(
    instance: Instance, owned: Sequence[tuple[str, str]], evidence: Evidence
) -> Match | Unmatched | None:
    """The best of an instance's files: first those without objection, then by rule. None if it has none."""
    suspect: Match | None = None
    for rule in RULES:
        files = sorted((file for file, by in owned if by == rule), key=_preference)
        if len(files) > 1 and rule == "url_name":  # one name in two folders can be two videos
            matching = [file for file in files if evidence.length(instance, file) is Verdict.MATCHES]
            possible = [file for file in files if evidence.length(instance, file) is not Verdict.RULED_OUT]
            if len(matching) != 1 or matching != possible:
                return suspect or Unmatched(
                    "several files of its name",
                    f"keep one of {', '.join(files)}, or name it {instance.video_id}.mp4",
                    candidates=tuple(files),
                )
            files = matching
        for file in files:  # several files of one id are the same video in other formats
            objection = evidence.objection(instance, file)
            if objection is None:
                return Match(file, rule)
            suspect = suspect or Match(file, rule, objection)
    return suspect


def _contested(instance: Instance, files: Sequence[str], rivals: set[str]) -> Unmatched:
    others = sorted(rivals)
    return Unmatched(
        "shared name",
        f"{', '.join(sorted(files))} is or could be another video ({first_few(others)}); if you know "
        f"it to be this one, name it {instance.video_id}.mp4",
        candidates=tuple(sorted(files)),
        rivals=tuple(others),
    )


def _preference(file: str) -> tuple[int, str]:
    suffix = PurePosixPath(file).suffix.lower()
    return VIDEO_SUFFIXES.index(suffix) if suffix in VIDEO_SUFFIXES else len(VIDEO_SUFFIXES), file
