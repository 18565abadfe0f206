import dataclasses
import json
import pickle
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image
from raw_videos import frame_numbers, write_raw

from asl.codecs.encode import encode_segment
from asl.codecs.encoder import x264
from asl.codecs.frame_collector import FramesRequest
from asl.codecs.stream_copy import copy_video
from asl.contract.frame_store import FrameSpec, frames_path, origin, read_shape
from asl.preprocess.clips import cut as cut_module
from asl.preprocess.clips import proof_log
from asl.preprocess.clips.cut import CutError, make_clip, make_clips, make_frames
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import file_digest
from asl.preprocess.clips.proof_log import ProofLog, request_of
from asl.preprocess.gpu.nvenc import nvenc


def make_cut(source, target, **changes):
    settings = {"video_id": "7", "start_s": Fraction(0), "end_s": None, "end_tolerance_s": Fraction(1, 25)}
    settings |= {
        "encoder": x264(crf=20, preset="ultrafast"),
        "audio": False,
        "source": source,
        "target": target,
    }
    settings["thumbnails"] = target.parents[2] / "strips" / "7.jpg"
    return Cut(**{**settings, **changes})


@pytest.fixture
def target(tmp_path):
    return tmp_path / "videos" / "train" / "book" / "7.mp4"


def files(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_the_proof_says_what_is_in_the_file(tmp_path, target):
    source = write_raw(tmp_path / "raw.mp4", fps=Fraction(30000, 1001), duration_s=3)
    proof = make_clip(make_cut(source, target, start_s=Fraction(1), end_s=Fraction(2)))
    assert frame_numbers(target) == list(range(30, 60))
    assert (proof.num_frames, proof.width, proof.height, proof.copied) == (30, 144, 108, False)
    assert proof.fps == pytest.approx(29.97003)
    assert proof.duration_s == pytest.approx(1.001)
    assert (proof.start_s, proof.end_s) == (1.0, 2.0)
    assert (proof.size, proof.digest) == (target.stat().st_size, file_digest(target))
    assert files(target.parent) == ["7.mp4"]
    with Image.open(target.parents[2] / "strips" / "7.jpg") as thumbnails:
        assert thumbnails.size == (3 * 160 + 4, 120)  # first, middle and last frame


def test_whole_plain_videos_are_copied_and_others_encoded(tmp_path, target):
    assert make_clip(make_cut(write_raw(tmp_path / "a.mp4"), target)).copied
    assert not make_clip(make_cut(write_raw(tmp_path / "b.mp4", rotation=90), target)).copied
    assert not make_clip(make_cut(tmp_path / "a.mp4", target, start_s=Fraction(1, 25))).copied
    # H.264 with B-frames, without display times that a copy could take over
    assert not make_clip(make_cut(write_raw(tmp_path / "c.avi"), target)).copied
    assert frame_numbers(target) == list(range(50))


def test_what_cannot_be_copied_exactly_is_encoded(tmp_path, target, monkeypatch):
    """A copy that loses a frame is not proven, and the clip is encoded instead."""
    source = write_raw(tmp_path / "a.mp4")

    def lossy_copy(*args, **kwargs):
        timeline = copy_video(*args, **kwargs)
        return dataclasses.replace(timeline, times=(*timeline.times, timeline.end))

    monkeypatch.setattr(cut_module, "copy_video", lossy_copy)
    proof = make_clip(make_cut(source, target))
    assert (proof.copied, proof.num_frames) == (False, 50)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: dataclasses.replace(t, times=t.times[:-1]),
        lambda t: dataclasses.replace(t, times=(t.times[0], t.times[1] + Fraction(1, 50), *t.times[2:])),
        lambda t: dataclasses.replace(t, end=t.end + Fraction(1, 25)),
    ],
    ids=["a frame too many", "a frame at the wrong time", "too short"],
)
def test_a_clip_that_is_not_what_was_meant_never_gets_its_name(tmp_path, target, monkeypatch, wrong):
    monkeypatch.setattr(
        cut_module, "encode_segment", lambda *args, **kwargs: wrong(encode_segment(*args, **kwargs))
    )
    source = write_raw(tmp_path / "a.mp4")
    with pytest.raises(CutError, match=r"a\.mp4 gave"):
        make_clip(make_cut(source, target, end_s=Fraction(1)))
    assert files(target.parent) == []


def test_past_the_end_up_to_a_frame_is_cut_to_the_end_and_more_is_an_error(tmp_path, target):
    source = write_raw(tmp_path / "a.mp4")  # 2 s
    proof = make_clip(make_cut(source, target, start_s=Fraction(1), end_s=Fraction(51, 25)))
    assert (proof.num_frames, proof.end_s) == (25, 2.0)
    with pytest.raises(CutError, match=r"ends at 2\.000 s.*goes to 2\.080 s \(0\.080 s more\)") as raised:
        make_clip(make_cut(source, target, start_s=Fraction(1), end_s=Fraction(52, 25)))
    assert raised.value.reason == "segment past the end"


def test_a_failed_cut_leaves_the_earlier_clip_alone(tmp_path, target):
    make_clip(make_cut(write_raw(tmp_path / "a.mp4"), target))
    before = file_digest(target)
    with pytest.raises(CutError):
        make_clip(make_cut(write_raw(tmp_path / "b.mp4", damage="bytes"), target))
    assert (files(target.parent), file_digest(target)) == (["7.mp4"], before)


def test_the_only_clip_of_a_source_leaves_no_result_beside_it(tmp_path, target):
    (proof,) = make_clips((make_cut(write_raw(tmp_path / "a.mp4"), target, end_s=Fraction(1)),))
    assert (proof.num_frames, files(target.parent)) == (25, ["7.mp4"])


def test_the_error_crosses_processes():
    error = pickle.loads(pickle.dumps(CutError("a.mp4 is damaged", "damaged source")))
    assert (error.message, error.reason) == ("a.mp4 is damaged", "damaged source")


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(28, "No space left on device"), "No space left on device"), (OSError("gone"), "gone")],
)
@pytest.mark.parametrize("what", ["mkdir", "replace"])
def test_a_clip_that_cannot_be_written_is_named_with_the_reason(
    tmp_path, target, monkeypatch, error, told, what
):
    def refuse(path, *args, **kwargs):
        if target in (path, *args) or path == target.parent:
            raise error
        return original(path, *args, **kwargs)

    cut, original = make_cut(write_raw(tmp_path / "a.mp4"), target), getattr(Path, what)
    monkeypatch.setattr(Path, what, refuse)
    with pytest.raises(CutError) as raised:
        make_clip(cut)
    assert (str(raised.value), raised.value.reason) == (f"{target}: {told}", "not writable")
    assert files(target.parent) == []


# ---------------------------------------------------------------- frames


@pytest.fixture
def with_frames(tmp_path, target):
    """Two cuts whose frames are stored: a whole video, which is copied, and a second of it."""
    source = write_raw(tmp_path / "a.mp4")
    spec = FrameSpec(short_side=16)

    def request(video_id, end_s):
        return FramesRequest(
            frames_path(tmp_path / "frames", spec, video_id), spec, origin(spec, source, 0.0, end_s)
        )

    return [
        make_cut(source, target, frames=request("7", None)),
        make_cut(source, target, end_s=Fraction(1), frames=request("8", 1.0)),
    ]


@pytest.mark.parametrize(("number", "count"), [(0, 50), (1, 25)], ids=["copied", "encoded"])
def test_frames_are_stored_with_the_clip_and_are_the_same_if_they_are_made_later(with_frames, number, count):
    cut = with_frames[number]
    proof = make_clip(cut)
    assert proof.copied == (number == 0)
    assert read_shape(cut.frames.path) == (count, 16, 21, 3)
    stored = cut.frames.path.read_bytes()
    cut.frames.path.unlink()
    make_frames((cut, proof))
    assert cut.frames.path.read_bytes() == stored


def test_frames_that_nobody_wants_are_not_made(tmp_path, with_frames):
    cut = dataclasses.replace(with_frames[0], frames=None)
    proof = make_clip(cut)
    cut.source.unlink()
    make_frames((cut, proof))
    assert not (tmp_path / "frames").exists()


def test_frames_of_a_source_that_is_no_video_by_now_are_an_error(tmp_path, with_frames):
    cut = with_frames[1]
    proof = make_clip(cut)
    cut.source.write_bytes(b"text")
    with pytest.raises(CutError, match=r"^a\.mp4 ") as raised:
        make_frames((cut, proof))
    assert raised.value.reason == "unreadable file"


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(28, "No space left on device"), "No space left on device"), (OSError("gone"), "gone")],
)
@pytest.mark.parametrize("number", [0, 1], ids=["copied", "encoded"])
def test_frames_that_cannot_be_written_are_an_error_with_two_ways_out(
    with_frames, target, monkeypatch, error, told, number
):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(cut_module.FrameCollector, "write", full)
    cut = with_frames[number]
    with pytest.raises(CutError) as raised:
        make_clip(cut)
    assert str(raised.value) == (
        f"{cut.frames.path}: {told}. Keep frames elsewhere (paths.frames_dir=...) or not at all "
        "(frames.enabled=false)"
    )
    assert raised.value.reason == "not writable"
    assert files(target.parent) == []


# ---------------------------------------------------------------- proof log


@pytest.fixture
def proven(tmp_path, target):
    """A cut that is done and logged."""
    cut = make_cut(write_raw(tmp_path / "a.mp4"), target, end_s=Fraction(1))
    log = ProofLog(tmp_path / "proofs.jsonl")
    log.add(cut, request_of(cut), make_clip(cut))
    return cut


def test_a_clip_that_is_there_and_right_is_trusted_by_a_later_run(tmp_path, proven):
    assert ProofLog(tmp_path / "proofs.jsonl").find(proven).num_frames == 25


@pytest.mark.parametrize("harm", ["missing", "shorter", "a bit flipped"])
def test_a_clip_that_is_missing_or_damaged_is_not(tmp_path, proven, harm):
    content = bytearray(proven.target.read_bytes())
    if harm == "missing":
        proven.target.unlink()
    elif harm == "shorter":
        proven.target.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        proven.target.write_bytes(content)
    assert ProofLog(tmp_path / "proofs.jsonl").find(proven) is None


def test_a_clip_of_another_source_segment_or_setting_is_not(tmp_path, proven):
    log = ProofLog(tmp_path / "proofs.jsonl")
    other = write_raw(tmp_path / "b.mp4")
    for changes in (
        {"source": other},
        {"start_s": Fraction(1, 25)},
        {"end_s": None},
        {"encoder": x264(crf=21, preset="ultrafast")},
        {"encoder": x264(crf=20, preset="fast")},
        {"encoder": nvenc(cq=20, session_timeout_s=0)},
        {"audio": True},
        {"video_id": "8"},
    ):
        assert log.find(dataclasses.replace(proven, **changes)) is None, changes
    write_raw(proven.source, duration_s=3)  # replaced under the same name
    assert log.find(proven) is None


def test_a_copied_clip_is_kept_whatever_the_encoder(tmp_path, target):
    cut = make_cut(write_raw(tmp_path / "a.mp4"), target)
    log = ProofLog(tmp_path / "proofs.jsonl")
    log.add(cut, request_of(cut), make_clip(cut))
    for changes in ({"encoder": x264(crf=30, preset="fast")}, {"end_tolerance_s": Fraction(1)}):
        assert log.find(dataclasses.replace(cut, **changes)).copied
    assert log.find(dataclasses.replace(cut, audio=True)) is None


def test_the_tolerance_counts_only_where_a_clip_is_shorter_than_its_segment(tmp_path, target, proven):
    source = write_raw(tmp_path / "short.mp4", duration_s=2)
    span = {"end_s": Fraction(23, 10), "end_tolerance_s": Fraction(2, 5)}
    tolerant = make_cut(source, target.with_name("9.mp4"), video_id="9", **span)
    log = ProofLog(tmp_path / "proofs.jsonl")
    log.add(tolerant, request_of(tolerant), make_clip(tolerant))
    assert log.find(tolerant).end_s == 2
    assert log.find(dataclasses.replace(tolerant, end_tolerance_s=Fraction(1, 25))) is None
    assert log.find(dataclasses.replace(proven, end_tolerance_s=Fraction(2, 25))) is not None


def test_a_clip_that_was_cut_by_other_rules_is_cut_again(tmp_path, proven, monkeypatch):
    path = tmp_path / "proofs.jsonl"
    earlier = json.loads(path.read_text())
    del earlier["asked"]["rules"]  # a line of a version that did not store them
    (tmp_path / "earlier.jsonl").write_text(json.dumps(earlier) + "\n")
    assert ProofLog(tmp_path / "earlier.jsonl").find(proven) is None
    monkeypatch.setattr(proof_log, "RULES", proof_log.RULES + 1)
    assert ProofLog(path).find(proven) is None


def test_a_torn_last_line_costs_that_line_only(tmp_path, proven, target):
    path = tmp_path / "proofs.jsonl"
    other = dataclasses.replace(proven, video_id="8", target=target.with_name("8.mp4"))
    with path.open("a") as file:
        file.write('{"video_id": "8", "asked": {"sou')
    log = ProofLog(path)
    assert log.find(proven) is not None
    log.add(other, request_of(other), make_clip(other))
    assert ProofLog(path).find(other) is not None
