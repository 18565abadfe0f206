"""What a shard tells the merge about itself, in ``{index}.json`` of the folder of the shards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from asl.files import atomic_write_text
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.cutting import CutFailure, CutResults
from asl.preprocess.clips.folder_lock import Run
from asl.preprocess.clips.plan import Cut

RUNNING, FAILED, FINISHED = "running", "failed", "finished"


@dataclass(kw_only=True)
class Record:
    """A shard's run. Written when it starts and when it ends: one that is killed stays running."""

    state: str = RUNNING
    host: str
    pid: int
    since: str  # ISO 8601
    seconds: float = 0.0  # how long it took
    error: str = ""  # why it failed
    backend: str = ""  # with which it cut, see Choice
    encoder: dict[str, Any] = field(default_factory=dict)  # see Encoder.as_dict
    quality: list[Any] = field(default_factory=list)  # see quality_of
    sources: int = 0
    clips: int = 0  # that it has, also those of earlier runs
    reused: int = 0  # of these, the ones of earlier runs
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)  # by video_id, see failed_clip
    no_frames: dict[str, str] = field(default_factory=dict)  # error by video_id, see FramesOutcome.failed

    def take(self, cuts: Sequence[Cut], asked: Mapping[str, Mapping[str, Any]], results: CutResults) -> None:
        """Note the results of the shard's cuts.

        Args:
            cuts: all of the shard.
            asked: what each was when the run began, see :func:`request_of`, by video_id.
            results: of these.
        """
        self.sources, self.clips = len({cut.source for cut in cuts}), len(results.proofs)
        self.reused, self.no_frames = results.reused, dict(results.frames.failed)
        self.failures = {
            cut.video_id: failed_clip(cut, asked[cut.video_id], results.failures[cut.video_id])
            for cut in cuts
            if cut.video_id in results.failures
        }

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def quality_of(trim: TrimSettings) -> list[Any]:
    """The settings that decide how clips look, whichever machine encodes them."""
    return [trim.crf, trim.preset, trim.cq, trim.audio]


def failed_clip(cut: Cut, asked: Mapping[str, Any], failure: CutFailure) -> dict[str, Any]:
    """A failure as plain data, with all that decided it."""
    return {"asked": {**asked, "end_tolerance_s": str(cut.end_tolerance_s)}, "failure": vars(failure)}


@contextmanager
def recorded(path: Path, run: Run) -> Iterator[Record]:
    """Write the record of a run: when the block begins, and when it ends, however it does."""
    started = datetime.now().astimezone()
    record = Record(host=run.host, pid=run.pid, since=started.isoformat(timespec="seconds"))
    _write(path, record)
    try:
        yield record
    except BaseException as error:
        record.state = FAILED
        record.error = "it was stopped" if isinstance(error, KeyboardInterrupt) else str(error) or repr(error)
        raise
    else:
        record.state = FINISHED
    finally:
        record.seconds = round((datetime.now().astimezone() - started).total_seconds(), 2)
        _write(path, record)


def read_record(path: Path) -> Record | None:
    """The record of a shard. None if it never started, or if the file is damaged or of another version."""
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, record: Record) -> None:
    atomic_write_text(path, json.dumps(dataclasses.asdict(record), indent=1))
