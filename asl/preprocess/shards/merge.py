"""Join what the shards of a data set have cut, or say which of them have not done their work."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from asl.contract.paths import SHARDS, Paths
from asl.errors import UserError
from asl.launch.command_line import arguments_without
from asl.messages import first_few
from asl.preprocess.clips.backend import Choice
from asl.preprocess.clips.cutting import CutFailure, CutResults
from asl.preprocess.clips.frames import FramesOutcome, without_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.clips.proof_log import ProofLog, request_of
from asl.preprocess.shards.files import ShardFiles
from asl.preprocess.shards.record import FAILED, RUNNING, Record, failed_clip, read_record

#: Keys that a shard does not have in common with the merge.
NOT_OF_A_SHARD = ("merge", "shard", "launcher")


class UnfinishedShardsError(UserError):
    """Shards that have to be started, or started again, before they can be merged."""

    def __init__(self, message: str, indices: Sequence[int]) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


def find_count(paths: Paths, dataset: str) -> int:
    """The number of shards of a data set, as the folder of those that were started says.

    Raises:
        UserError: no shard was started, or shards of several sets.
    """
    counts = _started_sets(paths.shards(dataset, 1))
    if not counts:
        raise UserError(
            f"merge=true: no shard of {dataset} was started with paths.metadata_dir={paths.metadata_dir}. "
            "Run all shards before the merge: shard.index=0 shard.count=... and so on"
        )
    if len(counts) > 1:
        raise UserError(
            f"merge=true: {paths.metadata_dir} has sets of {first_few(map(str, counts))} shards of "
            f"{dataset}. Say which with shard.count=..."
        )
    return counts[0]


def _started_sets(folder: Path) -> list[int]:
    """The counts of all sets of shards that were started of the data set of this folder of shards."""
    start = _start(folder)
    records = folder.parent.glob(f"{glob.escape(start)}*/*.json")
    names = {path.parent.name.removeprefix(start) for path in records if path.stem.isdecimal()}
    return sorted(int(name) for name in names if name.isdecimal())


def _start(folder: Path) -> str:
    """What the names of all folders of shards of the data set begin with."""
    return folder.name.rpartition(SHARDS)[0] + SHARDS


def join_shards(
    shares: Sequence[Sequence[Cut]], folder: Path, log: ProofLog, *, quality: Sequence[Any], read_bytes: bool
) -> tuple[CutResults, Choice]:
    """The results of all shards, as if one run had cut all clips, and with what they cut.

    Args:
        shares: the cuts of each shard.
        folder: of the shards.
        log: has the proofs of all shards.
        quality: see :func:`~asl.preprocess.shards.record.quality_of`.
        read_bytes: see :meth:`ProofLog.find_all`.

    Raises:
        UnfinishedShardsError: a shard was not started or has not done its whole share.
    """
    proofs: dict[str, Proof] = {}
    failures: dict[str, CutFailure] = {}
    no_frames: dict[str, str] = {}
    backends: set[str] = set()
    unfinished: dict[int, str] = {}
    for index, cuts in enumerate(shares):
        if not cuts:
            continue
        path = ShardFiles(folder, index).record
        record = read_record(path)
        if record is None:
            unfinished[index] = f"has a damaged record, {path}" if path.exists() else "was never started"
            continue
        if problem := _problem(record, quality):
            unfinished[index] = problem
            continue
        found = log.find_all(cuts, read_bytes=read_bytes, encoder=record.encoder)
        failed = _failures(record, [cut for cut in cuts if cut.video_id not in found])
        if clips := len(cuts) - len(found) - len(failed):
            unfinished[index] = f"lacks {clips} clips, which are new or have changed since it ended"
        without = {cut.video_id for cut in without_frames([c for c in cuts if c.video_id in found], found)}
        if lacking := without - record.no_frames.keys():
            unfinished.setdefault(index, f"lacks the frames of {len(lacking)} clips")
        proofs |= found
        failures |= failed
        no_frames |= {video_id: error for video_id, error in record.no_frames.items() if video_id in without}
        backends.add(record.backend)
    if unfinished:
        others = [count for count in _started_sets(folder) if folder.name != f"{_start(folder)}{count}"]
        raise UnfinishedShardsError(_message(unfinished, len(shares), others), list(unfinished))
    stored = sum(cut.frames is not None and cut.video_id in proofs for cuts in shares for cut in cuts)
    outcome = FramesOutcome(there=stored - len(no_frames), failed=no_frames)
    choice = Choice(" and ".join(sorted(backends)), f"in {len(shares)} shards")
    return CutResults(proofs, failures, len(proofs), outcome), choice


def _problem(record: Record, quality: Sequence[Any]) -> str:
    """Why a shard that was started has not done its work, as its record says; empty if it may have."""
    if record.state == RUNNING:
        return f"was killed ({record})"
    if record.state == FAILED:
        return f"failed ({record}): {record.error}"
    if record.quality != list(quality):
        return f"had another trim.crf, trim.preset, trim.cq or trim.audio ({record})"
    return ""


def _failures(record: Record, cuts: Sequence[Cut]) -> dict[str, CutFailure]:
    """The failures of those cuts that failed in the shard and would fail again, as nothing has changed."""
    failures = {}
    for cut in cuts:
        entry = record.failures.get(cut.video_id)
        if entry:
            asked = {**request_of(cut), "encoder": record.encoder}
            if failed_clip(cut, asked, CutFailure(**entry["failure"])) == entry:
                failures[cut.video_id] = CutFailure(**entry["failure"])
    return failures


def _message(unfinished: Mapping[int, str], count: int, other_sets: Sequence[int]) -> str:
    lines = [f"  shard.index={index} {problem}" for index, problem in unfinished.items()]
    commands = [f"  {shard_command(index, count)}" for index in unfinished]
    return "\n".join(
        [
            f"{len(unfinished)} of {count} shards are not done:",
            *lines,
            "Start them, on any machines, and merge again when they have ended:",
            *commands,
            f"  {merge_command(count)}",
            *(f"There are shards of a set of {other}, too: {merge_command(other)}" for other in other_sets),
        ]
    )


def shard_command(index: int, count: int) -> str:
    """The command that runs a shard, with the other arguments of this program."""
    return _command(NOT_OF_A_SHARD, f"shard.index={index}", f"shard.count={count}")


def merge_command(count: int) -> str:
    """The command that merges the shards, with the other arguments of this program."""
    return _command((*NOT_OF_A_SHARD, "overwrite"), "merge=true", f"shard.count={count}")


def _command(without: Sequence[str], *overrides: str) -> str:
    kept = arguments_without(without) if HydraConfig.initialized() else []
    return shlex.join(["python", "preprocess.py", *kept, *overrides])
