"""Which clips the page shows, and their pictures: first, middle and last frame side by side."""

from __future__ import annotations

import base64
import io
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from asl.codecs.decoder import decode_pictures
from asl.contract.manifest import SPLITS, Clip
from asl.contract.paths import Paths
from asl.files import atomic_write
from asl.preprocess.audit.audit import Pair
from asl.preprocess.clips.thumbnails import SIDE, frames_to_show, to_jpeg
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match
from asl.workers import Done, Workers

#: Clips on the contact sheet; pairs and suspects that are shown with pictures. Others are only listed.
SAMPLE, PAIRS, SUSPECTS = 60, 40, 20


@dataclass(frozen=True)
class Shot:
    """A clip of which pictures are wanted."""

    video_id: str
    path: Path
    num_frames: int


@dataclass(frozen=True)
class Strip:
    """Three frames of a clip in one JPEG."""

    jpeg: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What is shown, and the pictures there are."""

    sample: tuple[Clip, ...]
    pairs: tuple[Pair, ...]
    suspects: tuple[tuple[Clip, Clip | None], ...]  # and an undoubted clip of the same gloss beside it
    files: Mapping[str, Path]  # where the clips lie that are shown, by video_id
    strips: Mapping[str, Strip | str]  # by video_id; text: why there is no picture


def take_pictures(findings: RunResult, workers: Workers) -> Pictures:
    """Choose what to show, with the pictures taken when it was proven; a lost one is taken again."""
    sample = contact_sample(findings.clips, SAMPLE, seed=findings.config.seed)
    pairs = telling_pairs(findings.audit.pairs, findings.outcome.proofs.keys())[:PAIRS]
    suspects = suspects_beside_others(findings)[:SUSPECTS]
    shown = {clip.video_id for clip in sample}
    shown |= {video_id for pair in pairs for video_id in (pair.first, pair.second)}
    shown |= {clip.video_id for both in suspects for clip in both if clip is not None}
    files = clip_files(findings, shown)
    paths = Paths(**vars(findings.config.paths))
    strips = {video_id: _read(paths.thumbnails(video_id)) for video_id in sorted(files)}
    proofs = findings.outcome.proofs
    missing = [
        Shot(video_id, files[video_id], proofs[video_id].num_frames)
        for video_id, strip in strips.items()
        if isinstance(strip, str)
    ]
    for ended in workers.run_each(take_strip, missing, timeout_s=findings.config.trim.timeout_s):
        if isinstance(ended, Done):
            path = paths.thumbnails(ended.task.video_id)
            with atomic_write(path) as file:
                file.write(ended.result)
            strips[ended.task.video_id] = _read(path)
        else:
            strips[ended.task.video_id] = ended.message
    return Pictures(
        sample=tuple(sample), pairs=tuple(pairs), suspects=tuple(suspects), files=files, strips=strips
    )


def take_strip(shot: Shot) -> bytes:
    """Decode the pictures of a clip whose strip is gone. Call it where it may hang or crash.

    Raises:
        VideoError: a frame up to the last one cannot be decoded, or the clip is shorter than it was.
    """
    return to_jpeg(decode_pictures(shot.path, frames_to_show(shot.num_frames), side=SIDE))


def _read(path: Path) -> Strip | str:
    """The strip of a file, or why there is none."""
    try:
        jpeg = path.read_bytes()
        width, height = Image.open(io.BytesIO(jpeg)).size
    except OSError as error:
        return str(error)
    return Strip(jpeg, width, height)


def contact_sample(clips: Sequence[Clip], size: int, *, seed: int) -> list[Clip]:
    """Clips spread over splits and glosses: the splits take turns, each with its least shown gloss.

    The same clips in any order, and the same seed, give the same sample, ordered by gloss and split.
    """
    shuffled = sorted(clips, key=lambda clip: clip.video_id)
    random.Random(seed).shuffle(shuffled)
    left = {split: [clip for clip in shuffled if clip.split == split] for split in SPLITS}
    shown: Counter[str] = Counter()
    sample: list[Clip] = []
    while len(sample) < size and any(left.values()):
        for split in [split for split in SPLITS if left[split]][: size - len(sample)]:
            clip = min(left[split], key=lambda clip: shown[clip.gloss])  # the first of several
            left[split].remove(clip)
            shown[clip.gloss] += 1
            sample.append(clip)
    return sorted(sample, key=lambda clip: (clip.label, SPLITS.index(clip.split), clip.video_id))


def telling_pairs(pairs: Sequence[Pair], with_clip: Collection[str]) -> list[Pair]:
    """The pairs, those first that do most harm, and of these first those of which both sides can be seen."""

    def order(pair: Pair) -> tuple[bool, int, int, str, str]:
        harm = 2 * pair.is_leakage + pair.is_conflict
        seen = (pair.first in with_clip) + (pair.second in with_clip)
        return (harm == 0, -seen, -harm, pair.first, pair.second)

    return sorted(pairs, key=order)


def suspects_beside_others(findings: RunResult) -> list[tuple[Clip, Clip | None]]:
    """Each suspect clip beside an undoubted one of its gloss, of its signer if there is one."""
    doubted = {
        video_id
        for video_id, match in findings.matches.items()
        if isinstance(match, Match) and match.objection
    }
    good: dict[str, list[Clip]] = {}
    for clip in sorted(findings.clips, key=lambda clip: clip.video_id):
        if clip.video_id not in doubted:
            good.setdefault(clip.gloss, []).append(clip)
    suspects = sorted(
        (clip for clip in findings.clips if clip.video_id in doubted), key=lambda clip: clip.video_id
    )

    def temp_path(clip: Clip) -> Clip | None:
        others = good.get(clip.gloss, [])
        return min(others, key=lambda other: other.signer_id != clip.signer_id, default=None)

    return [(clip, temp_path(clip)) for clip in suspects]


def clip_files(findings: RunResult, video_ids: set[str]) -> dict[str, Path]:
    """Where the clips of some instances lie; those without a clip are left out."""
    folder = Path(findings.config.paths.data_dir)
    files = {clip.video_id: folder / clip.path for clip in findings.clips if clip.video_id in video_ids}
    # What the audit took out of the manifest still lies in the folder of its official split, which
    # another split of the data set hides.
    for instance in findings.metadata.instances:
        wanted = instance.video_id in video_ids and instance.video_id not in files
        if wanted and instance.video_id in findings.outcome.proofs:
            for split in SPLITS:
                path = Paths(**vars(findings.config.paths)).clip(split, instance.gloss, instance.video_id)
                if path.is_file():
                    files[instance.video_id] = path
                    break
    return files
