"""The proofs of all clips made so far, in ``clip_proofs.jsonl``: a line is appended for each finished clip.

A later run reuses a clip only if its line says that it was cut from the same source and segment with the
same settings by the same rules, and if the file still has the bytes that were proven.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asl.files import atomic_write_text
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, file_digest

#: Version of the rules by which clips are cut, copied and proven. Raise it when the same source and settings
#: may give another clip or verdict than before: clips of earlier versions are then cut again.
RULES = 1


@dataclass(frozen=True)
class ProvenClip:
    """A proof, and the request that its clip was made for."""

    asked: Mapping[str, Any]  # see request_of
    proof: Proof

    def is_for(self, cut: Cut) -> bool:
        """Whether the cut would give this clip. The encoder is compared only if it was used.

        Raises:
            OSError: the source cannot be read.
        """
        request = request_of(cut)
        if self.proof.copied:
            request["encoder"] = self.asked.get("encoder")
        short_s = 0.0 if cut.end_s is None else float(cut.end_s) - self.proof.end_s
        return self.asked == request and round(short_s, 6) <= cut.end_tolerance_s


def request_of(cut: Cut) -> dict[str, Any]:
    """All that decides what a clip is, as plain data.

    Raises:
        OSError: the source cannot be read.
    """
    source = cut.source.stat()
    return {
        "rules": RULES,
        "source": cut.source.name,
        "source_size": source.st_size,
        "source_mtime_ns": source.st_mtime_ns,
        "start_s": str(cut.start_s),
        "end_s": None if cut.end_s is None else str(cut.end_s),
        "encoder": cut.encoder.as_dict(),
        "audio": cut.audio,
    }


class ProofLog:
    """The log file. An incomplete last line, as a killed run leaves it, is ignored and removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clips: dict[str, ProvenClip] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._read(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_all()  # without an incomplete last line, to which nothing may be appended

    def find(self, cut: Cut) -> Proof | None:
        """The proof of a cut whose clip is already made and unchanged. None if it must be made.

        Raises:
            OSError: the source cannot be read.
        """
        clip = self._clips.get(cut.video_id)
        if clip is None or not clip.is_for(cut):
            return None
        try:
            unchanged = (
                cut.target.stat().st_size == clip.proof.size and file_digest(cut.target) == clip.proof.digest
            )
        except OSError:
            return None
        return clip.proof if unchanged else None

    def add(self, cut: Cut, asked: Mapping[str, Any], proof: Proof) -> None:
        """Append a clip. The line is not synced to disk: a crash can lose it, and the clip is cut again."""
        self._clips[cut.video_id] = ProvenClip(asked, proof)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._line(cut.video_id) + "\n")

    def _line(self, video_id: str) -> str:
        clip = self._clips[video_id]
        return json.dumps(
            {"video_id": video_id, "asked": dict(clip.asked), "proof": dataclasses.asdict(clip.proof)}
        )

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._clips[entry["video_id"]] = ProvenClip(dict(entry["asked"]), Proof(**entry["proof"]))
        except (ValueError, KeyError, TypeError):
            return  # incomplete, or of another version: the clip is cut again

    def _write_all(self) -> None:
        atomic_write_text(self.path, "".join(self._line(video_id) + "\n" for video_id in sorted(self._clips)))
