"""What has been proven so far: one line for each clip, appended as soon as it is good.

A later run trusts a clip only if this log says that it was cut from the same source and segment
with the same settings, and the file's bytes are still the ones that were proven.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asl.files import atomic_write_text
from asl.preprocess.clips.trim import Cut, Proof, file_digest


@dataclass(frozen=True)
class Proven:
    """A clip that was proven, and what it was cut from."""

    asked: Mapping[str, Any]  # see asked_for
    proof: Proof


def asked_for(cut: Cut) -> dict[str, Any]:
    """All that decides what a clip is, as plain data: source file, segment, settings.

    Raises:
        OSError: the source cannot be read.
    """
    source = cut.source.stat()
    return {
        "source": cut.source.name,
        "source_size": source.st_size,
        "source_mtime_ns": source.st_mtime_ns,
        "start_s": str(cut.start_s),
        "end_s": None if cut.end_s is None else str(cut.end_s),
        "encoder": cut.encoder.as_dict(),
        "audio": cut.audio,
    }


class ProofLog:
    """The log file; a torn last line, left by a kill, is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._proven: dict[str, Proven] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._read(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_all()  # also mends a torn last line before anything is appended to it

    def is_right(self, cut: Cut) -> Proof | None:
        """The proof of a clip that is there, whole, and cut as asked; otherwise None."""
        proven = self._proven.get(cut.video_id)
        if proven is None or proven.asked != asked_for(cut):
            return None
        try:
            unchanged = (
                cut.target.stat().st_size == proven.proof.size
                and file_digest(cut.target) == proven.proof.digest
            )
        except OSError:
            return None
        return proven.proof if unchanged else None

    def add(self, cut: Cut, asked: Mapping[str, Any], proof: Proof) -> None:
        """Note a clip. At most the last clip before a kill is lost, and then cut again."""
        self._proven[cut.video_id] = Proven(asked, proof)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._line(cut.video_id) + "\n")

    def _line(self, video_id: str) -> str:
        proven = self._proven[video_id]
        return json.dumps(
            {"video_id": video_id, "asked": dict(proven.asked), "proof": dataclasses.asdict(proven.proof)}
        )

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._proven[entry["video_id"]] = Proven(entry["asked"], Proof(**entry["proof"]))
        except (ValueError, KeyError, TypeError):
            return  # torn, or of another version: the clip is cut again

    def _write_all(self) -> None:
        atomic_write_text(
            self.path, "".join(self._line(video_id) + "\n" for video_id in sorted(self._proven))
        )
