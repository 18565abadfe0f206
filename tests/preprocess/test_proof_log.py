"""Which clips of an earlier run are used again."""

from __future__ import annotations

import dataclasses
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from test_cut import make_cut

from asl.codecs.encoder import x264
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, file_digest
from asl.preprocess.clips.proof_log import ProofLog, join_logs, request_of


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """A cut whose source and clip exist, the clip as bytes that are no video."""
    target = tmp_path / "videos" / "train" / "book" / "7.mp4"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"the clip")
    source = tmp_path / "a.mp4"
    source.write_bytes(b"the source")
    return make_cut(source, target, start_s=Fraction(1, 3), end_s=Fraction(4, 3))


def proof_of_file(cut: Cut, num_frames: int = 25) -> Proof:
    return Proof(
        **{"num_frames": num_frames, "fps": 25.0, "duration_s": 1.0, "width": 64, "height": 48},
        **{"start_s": 1 / 3, "end_s": 4 / 3, "copied": False, "size": cut.target.stat().st_size},
        **{"digest": file_digest(cut.target), "fingerprint": ""},
    )


@pytest.fixture
def path(tmp_path: Path, cut: Cut) -> Path:
    """The log of a run that has made the clip."""
    file = tmp_path / "data" / "metadata" / "proofs.jsonl"
    ProofLog(file).add(cut, request_of(cut), proof_of_file(cut))
    return file


def test_a_later_run_finds_the_proof(path: Path, cut: Cut) -> None:
    assert ProofLog(path).find(cut) == proof_of_file(cut)
    assert ProofLog(path).find(dataclasses.replace(cut, video_id="8")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"start_s": Fraction(1, 3) + Fraction(1, 1000)},
        {"end_s": Fraction(4, 3) + Fraction(1, 1000)},  # a corrected frame_end
        {"end_s": None},
        {"encoder": x264(crf=21, preset="ultrafast")},
        {"audio": True},
    ],
)
def test_a_clip_is_cut_again_if_its_segment_or_a_setting_changes(
    path: Path, cut: Cut, changes: dict[str, Any]
) -> None:
    changed = dataclasses.replace(cut, **changes)
    log = ProofLog(path)
    assert log.find(changed) is None
    log.add(changed, request_of(changed), proof_of_file(cut, num_frames=26))
    assert log.find(changed) == ProofLog(path).find(changed) == proof_of_file(cut, num_frames=26)
    assert ProofLog(path).find(cut) is None  # of one clip the last line counts


@pytest.mark.parametrize(("end_s", "found"), [(4 / 3, True), (1.3, False)])
def test_another_tolerance_matters_if_the_clip_is_shorter_than_its_segment(
    tmp_path: Path, cut: Cut, end_s: float, found: bool
) -> None:
    log = ProofLog(tmp_path / "proofs.jsonl")
    proof = dataclasses.replace(proof_of_file(cut), end_s=end_s)
    log.add(cut, request_of(cut), proof)
    assert log.find(cut) == proof
    assert (log.find(dataclasses.replace(cut, end_tolerance_s=Fraction(0))) == proof) == found


def test_a_clip_is_cut_again_if_its_source_is_another_file(path: Path, cut: Cut) -> None:
    stamp = cut.source.stat().st_mtime_ns

    def found(content: bytes, name: str, mtime_ns: int) -> bool:
        source = cut.source.with_name(name)
        source.write_bytes(content)
        os.utime(source, ns=(mtime_ns, mtime_ns))
        return ProofLog(path).find(dataclasses.replace(cut, source=source)) is not None

    assert found(b"the source", "a.mp4", stamp)
    assert not found(b"the source", "b.mp4", stamp)
    assert not found(b"the source", "a.mp4", stamp + 1000)
    assert not found(b"another source", "a.mp4", stamp)


@pytest.mark.parametrize("content", [b"the clup", b"the clip and more", b"the"])
def test_size_and_content_of_the_clip_have_to_be_those_that_were_proven(
    path: Path, cut: Cut, content: bytes
) -> None:
    cut.target.write_bytes(content)
    os.utime(cut.target, ns=(5, 5))
    assert ProofLog(path).find(cut) is None
    cut.target.write_bytes(b"the clip")
    assert ProofLog(path).find(cut) is not None


def test_a_wrong_size_in_the_log_is_not_overlooked(tmp_path: Path, cut: Cut) -> None:
    log = ProofLog(tmp_path / "proofs.jsonl")
    log.add(cut, request_of(cut), dataclasses.replace(proof_of_file(cut), size=7))
    assert log.find(cut) is None


def test_a_missing_clip_is_cut_again_and_a_missing_source_is_an_error(path: Path, cut: Cut) -> None:
    cut.target.unlink()
    assert ProofLog(path).find(cut) is None
    cut.source.unlink()
    with pytest.raises(FileNotFoundError):
        ProofLog(path).find(cut)


@pytest.mark.parametrize(
    "line",
    [
        '{"video_id": "7", "asked": {"sou',
        '{"video_id": "7"}',
        "[1]",
        '{"video_id": "8", "asked": {}, "proof": {"num_frames": 1}}',
    ],
)
def test_lines_that_are_incomplete_or_of_another_version_are_removed(path: Path, cut: Cut, line: str) -> None:
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}{line}", encoding="utf-8")
    assert ProofLog(path).find(cut) == proof_of_file(cut)
    assert path.read_text(encoding="utf-8") == before


def test_a_log_is_written_anew_only_to_leave_out_lines(path: Path, cut: Cut) -> None:
    for video_id in ("3", "1"):
        other = dataclasses.replace(cut, video_id=video_id)
        ProofLog(path).add(other, request_of(other), proof_of_file(cut))
    assert [line[14] for line in path.read_text(encoding="utf-8").splitlines()] == ["7", "3", "1"]
    ProofLog(path).add(cut, request_of(cut), proof_of_file(cut))
    ProofLog(path)
    assert [line[14] for line in path.read_text(encoding="utf-8").splitlines()] == ["1", "3", "7"]


def changed_in_silence(cut: Cut) -> None:
    """Another content of the same size and time, as a disk may return it."""
    times = cut.target.stat().st_atime_ns, cut.target.stat().st_mtime_ns
    cut.target.write_bytes(b"the clup")
    os.utime(cut.target, ns=times)


def test_bytes_are_read_only_if_asked_for_or_if_the_file_has_another_time(path: Path, cut: Cut) -> None:
    changed_in_silence(cut)
    assert ProofLog(path).find(cut) is not None
    assert ProofLog(path).find(cut, read_bytes=True) is None
    os.utime(cut.target, ns=(5, 5))
    assert ProofLog(path).find(cut) is None


def test_a_copied_clip_is_read_once(path: Path, cut: Cut) -> None:
    os.utime(cut.target, ns=(5, 5))
    assert ProofLog(path).find(cut) is not None
    changed_in_silence(cut)
    assert ProofLog(path).find(cut) is not None  # its time is known now


def test_a_line_without_the_time_of_its_clip_is_of_an_earlier_version(path: Path, cut: Cut) -> None:
    entry = json.loads(path.read_text(encoding="utf-8"))
    del entry["mtime_ns"]
    path.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    assert ProofLog(path).find(cut) == proof_of_file(cut)
    changed_in_silence(cut)
    assert ProofLog(path).find(cut) is not None  # its time is known now


def test_logs_of_shards_are_read_and_joined(path: Path, cut: Cut, tmp_path: Path) -> None:
    parts = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    for number, part in enumerate(parts):
        for video_id in (f"{number}", "7"):
            other = dataclasses.replace(cut, video_id=video_id)
            ProofLog(part).add(other, request_of(other), proof_of_file(cut, num_frames=30 + number))
    with parts[1].open("a", encoding="utf-8") as file:
        file.write('{"video_id": "9')  # its run was killed
    own = ProofLog(tmp_path / "own.jsonl", others=[path, *parts], only={"7"})
    assert own.find(cut) == proof_of_file(cut, num_frames=31)
    assert own.find(dataclasses.replace(cut, video_id="0")) is None
    assert own.path.read_text(encoding="utf-8") == ""
    join_logs(path, parts)
    log = ProofLog(path)
    found = log.find_all([dataclasses.replace(cut, video_id=video_id) for video_id in "0179"])
    assert {video_id: proof.num_frames for video_id, proof in found.items()} == {"0": 30, "1": 31, "7": 31}
    assert not any(map(Path.exists, parts))
