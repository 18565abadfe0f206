"""The proofs of all clips made so far, in ``clip_proofs.jsonl``: a line is appended for each finished clip.

A later run reuses a clip only if its line says that it was cut from the same source and segment with the
same settings by the same rules, and if the file is still the one that was proven.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from asl.files import atomic_write, atomic_write_text
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, file_digest
from asl.threads import map_in_threads

#: Version of the rules by which clips are cut, copied and proven. Raise it when the same source and settings
#: may give another clip or verdict than before: clips of earlier versions are then cut again.
RULES = 1


@dataclass(frozen=True, slots=True)
class ProvenClip:
    """A proof, and the request that its clip was made for."""

    asked: Mapping[str, Any]  # see request_of
    proof: Proof
    mtime_ns: int = 0  # last change of the clip's file; 0: unknown, as in lines of earlier versions

    def is_for(self, cut: Cut, encoder: Mapping[str, Any] | None = None) -> bool:
        """Whether the cut would give this clip. The encoder is compared only if it was used.

        Args:
            cut: the clip that is wanted.
            encoder: with which it is to be encoded, see :meth:`Encoder.as_dict`; None: that of the cut.

        Raises:
            OSError: the source cannot be read.
        """
        request = request_of(cut)
        if encoder is not None:
            request["encoder"] = encoder
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
    """The log file. An incomplete last line, as a killed run leaves it, is ignored and removed.

    Args:
        path: the file; it is made if it is missing.
        others: other logs that are read, too, the oldest first.
        only: video_ids of the clips that matter of them. None: all.
    """

    def __init__(
        self, path: Path, *, others: Iterable[Path] = (), only: Container[str] | None = None
    ) -> None:
        self.path = path
        own, lines = _read(path)
        if lines != len(own) or not path.exists():
            atomic_write_text(path, "".join(_line(video_id, own[video_id]) for video_id in sorted(own)))
        self._clips: dict[str, ProvenClip] = {}
        for other in others:
            self._clips |= _read(other, only)[0]
        self._clips |= own

    def find(self, cut: Cut, *, read_bytes: bool = False) -> Proof | None:
        """Like :meth:`find_all` for one cut. None if its clip must be made."""
        return self.find_all([cut], read_bytes=read_bytes).get(cut.video_id)

    def find_all(
        self, cuts: Sequence[Cut], *, read_bytes: bool = False, encoder: Mapping[str, Any] | None = None
    ) -> dict[str, Proof]:
        """The proofs of the cuts whose clips are already made and unchanged, by video_id.

        Args:
            cuts: the clips that are wanted.
            read_bytes: read every clip and compare its digest. False: only those whose file was changed or
                copied since it was proven, as its time says; a clip of another size is changed in any case.
            encoder: see :meth:`ProvenClip.is_for`.

        Raises:
            OSError: a source cannot be read.
        """
        proofs = {}
        check = partial(self._check, read_bytes=read_bytes, encoder=encoder)
        for cut, clip in zip(cuts, map_in_threads(check, cuts), strict=True):
            if clip is None:
                continue
            proofs[cut.video_id] = clip.proof
            if clip.mtime_ns != self._clips[cut.video_id].mtime_ns:
                self._append(cut.video_id, clip)
        return proofs

    def add(self, cut: Cut, asked: Mapping[str, Any], proof: Proof) -> None:
        """Append a clip. The line is not synced to disk: a crash can lose it, and the clip is cut again."""
        self._append(cut.video_id, ProvenClip(asked, proof, cut.target.stat().st_mtime_ns))

    def _check(self, cut: Cut, read_bytes: bool, encoder: Mapping[str, Any] | None) -> ProvenClip | None:
        """The entry of a cut whose clip is made and unchanged, with the present time of its file."""
        clip = self._clips.get(cut.video_id)
        if clip is None or not clip.is_for(cut, encoder):
            return None
        try:
            stat = cut.target.stat()
            if stat.st_size != clip.proof.size:
                return None
            if stat.st_mtime_ns == clip.mtime_ns and not read_bytes:
                return clip
            unchanged = file_digest(cut.target) == clip.proof.digest
        except OSError:
            return None
        return dataclasses.replace(clip, mtime_ns=stat.st_mtime_ns) if unchanged else None

    def _append(self, video_id: str, clip: ProvenClip) -> None:
        self._clips[video_id] = clip
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(video_id, clip))


def join_logs(path: Path, parts: Sequence[Path]) -> None:
    """Append logs to the log at ``path``, and remove them. Of lines on one clip, the last counts."""
    if not parts:
        return
    with atomic_write(path) as joined:
        for part in filter(Path.exists, [path, *parts]):
            with part.open("rb") as lines:
                joined.writelines(line for line in lines if line.endswith(b"\n"))
    for part in parts:
        part.unlink()


def _line(video_id: str, clip: ProvenClip) -> str:
    entry = {"asked": dict(clip.asked), "proof": dataclasses.asdict(clip.proof), "mtime_ns": clip.mtime_ns}
    return json.dumps({"video_id": video_id, **entry}) + "\n"


def _read(path: Path, only: Container[str] | None = None) -> tuple[dict[str, ProvenClip], int]:
    """The clips in a log by video_id, and its number of lines. A missing file has none."""
    clips: dict[str, ProvenClip] = {}
    encoders: dict[str, Any] = {}  # most clips have the same
    count = 0
    if not path.exists():
        return clips, count
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            count += 1
            if not line.endswith("\n"):
                break  # incomplete
            try:
                entry = json.loads(line)
                if only is None or entry["video_id"] in only:
                    asked = {sys.intern(key): value for key, value in entry["asked"].items()}
                    asked["encoder"] = encoders.setdefault(str(asked["encoder"]), asked["encoder"])
                    clips[entry["video_id"]] = ProvenClip(
                        asked, Proof(**entry["proof"]), int(entry.get("mtime_ns", 0))
                    )
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # of another version: the clip is cut again
    return clips, count
