from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip
from hypothesis import given
from hypothesis import strategies as st
from raw_videos import shrink

from asl.codecs.decoder import decode_file
from asl.datasets.instance import Instance
from asl.datasets.wlasl import segment_span
from asl.preprocess.audit.audit import audit, missing_glosses, signer_overlap, small_classes
from asl.preprocess.audit.audit_clips import audit_clips
from asl.preprocess.audit.confirm import Comparison
from asl.preprocess.audit.manifest_columns import leaking_train_clips, with_flags_and_copies
from asl.preprocess.audit.pairs import find_pairs, make_pair, shared_segments
from asl.preprocess.audit.same_content import propose_copies
from asl.preprocess.audit.settings import AuditSettings
from asl.preprocess.clips import fingerprint
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.matching import Match

GLOSSES = ("book", "drink", "go", "help")
URL = "http://a.example/x.mp4"


def instance(video_id, url=URL, frame_start=1, frame_end=-1, **changes):
    start_s, end_s = segment_span(frame_start, frame_end, 25)
    fields = {"gloss": "book", "split": "train", "video_id": video_id, "url": url}
    return Instance(**fields | {"start_s": start_s, "end_s": end_s} | changes)


def kinds(instances):
    return {(pair.first, pair.second): pair.kind for pair in shared_segments(instances)}


# ---------------------------------------------------------------- what the metadata says


def test_the_same_segment_of_a_video_is_found_whatever_its_urls_form():
    watch, short = "https://www.youtube.com/watch?v=0UzEF7ru0sQ", "https://youtu.be/0UzEF7ru0sQ"
    instances = [
        instance("2", watch, frame_start=5, frame_end=60),
        instance("1", short, frame_start=5, frame_end=60),
        instance("3", watch, frame_start=61, frame_end=99),
    ]
    assert kinds(instances) == {("1", "2"): "same segment"}


def test_segments_that_overlap_are_found_and_those_that_touch_are_not():
    instances = [
        instance("1", frame_start=1, frame_end=10),
        instance("2", frame_start=10, frame_end=20),
        instance("3", frame_start=21, frame_end=30),
        instance("4", frame_start=25, frame_end=-1),
    ]
    found = kinds(instances)
    assert set(found) == {("1", "2"), ("3", "4")}
    assert set(found.values()) == {"overlapping segments"}


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=8), st.randoms(use_true_random=False)
)
def test_pairs_are_those_that_share_a_frame_in_any_order(spans, order):
    instances = [
        instance(str(i), frame_start=start, frame_end=start + more) for i, (start, more) in enumerate(spans)
    ]
    frames = {one.video_id: set(range(int(25 * one.start_s), int(25 * one.end_s))) for one in instances}
    meant = {(a, b) for a in frames for b in frames if a < b and frames[a] & frames[b]}
    found = list(shared_segments(instances))
    assert {(pair.first, pair.second) for pair in found} == meant
    order.shuffle(instances)
    assert list(shared_segments(instances)) == found


def test_a_pair_says_whether_it_leaks_or_contradicts():
    def flags(**changes):
        return make_pair("same segment", instance("1"), instance("2", **changes)).flags

    assert flags(split="test") == ("leakage",)
    assert flags(gloss="last") == ("conflict",)
    assert flags(split="val", gloss="last") == ("leakage", "conflict")
    assert flags() == ("duplicate",)


def test_signers_of_test_that_training_has_seen():
    signed = [("train", "1", "a"), ("test", "1", "a"), ("test", "1", "b"), ("test", "2", "a")]
    assert signer_overlap([*signed, ("train", "", "a"), ("test", "", "a")]) == {
        "test": 4,
        "signer_in_train": 2,
        "signer_and_gloss_in_train": 1,
        "signer_unknown": 1,
    }


def test_classes_that_are_small_or_missing():
    clips = [
        make_clip("train", 0, 1),
        make_clip("train", 0, 2),
        make_clip("train", 1, 3),
        make_clip("val", 0, 4),
    ]
    glosses = ["book", "drink", "go"]
    assert small_classes(clips, glosses, 2) == [("go", 0), ("drink", 1)]
    assert missing_glosses(clips, glosses) == {"train": ["go"], "val": ["drink", "go"], "test": glosses}


# ---------------------------------------------------------------- flags, copies and dropped clips


def test_only_pairs_of_two_clips_are_flagged_and_only_train_copies_leak():
    clips = [
        make_clip("train", 0, 1),
        make_clip("test", 0, 2),
        make_clip("train", 0, 3),
        make_clip("val", 0, 4),
    ]
    of = {clip.video_id: instance(clip.video_id, split=clip.split) for clip in clips}
    absent = instance("absent", split="test")
    pairs = [
        make_pair("same segment", of["train001"], of["test002"]),
        make_pair("same segment", of["train003"], absent),
        make_pair("same content", of["val004"], of["test002"]),
    ]
    assert leaking_train_clips(pairs, clips) == {"train001": ["test002"]}
    flags = {clip.video_id: clip.flags for clip in with_flags_and_copies(clips, pairs, ["train003"], [])}
    assert flags == {"train001": "leakage", "test002": "leakage", "train003": "suspect", "val004": "leakage"}


def test_copies_are_the_other_clips_of_all_pairs_in_the_manifest():
    clips = [
        make_clip("train", 0, 1),
        make_clip("train", 0, 2),
        make_clip("test", 0, 3),
        make_clip("val", 0, 4),
    ]
    of = {clip.video_id: instance(clip.video_id, split=clip.split) for clip in clips}
    pairs = [
        make_pair("same segment", of["train001"], of["train002"]),
        make_pair("overlapping segments", of["train001"], of["test003"]),
        make_pair("same content", of["train002"], instance("absent", split="test")),
    ]
    copies = {clip.video_id: clip.copies for clip in with_flags_and_copies(clips, pairs, ["val004"], [])}
    assert copies == {
        "train001": "test003 train002",
        "train002": "train001",
        "test003": "train001",
        "val004": "",
    }


def confirm_all(proposals):
    return [Comparison(first, second, 0.9) for first, second in proposals]


def proof_with(bitstream, content):
    """A proof of noise, which no other number ``content`` gives."""
    side = fingerprint.SIDE
    noise = np.random.default_rng(content).integers(0, 256, (fingerprint.FRAMES, side, side), np.uint8)
    numbers = {"num_frames": 8, "fps": 25.0, "duration_s": 0.32, "width": 64, "height": 48}
    rest = {"start_s": 0.0, "end_s": 0.32, "copied": True, "size": 1, "digest": ""}
    return Proof(**numbers, **rest, fingerprint=fingerprint.to_text(noise), bitstream=bitstream)


@pytest.mark.parametrize("confirmed", [True, False])
def test_only_confirmed_copies_are_flagged_and_dropped_and_the_others_are_kept_as_rejected(confirmed):
    clips = [make_clip("train", 0, 1), make_clip("test", 1, 2)]
    instances = [
        instance(clip.video_id, f"http://a.example/{clip.video_id}.mp4", split=clip.split) for clip in clips
    ]
    proofs = {clip.video_id: proof_with("", 1) for clip in clips}

    def compare(proposals):
        return [Comparison(first, second, 0.9 if confirmed else 0.3) for first, second in proposals]

    settings = AuditSettings(leakage="drop_train")
    rows, found, dropped = audit_clips(clips, instances, {}, proofs, settings, compare)
    told = found.as_dict()
    assert {row.video_id for row in rows} == ({"test102"} if confirmed else {"test102", "train001"})
    assert [row.flags + row.copies for row in rows] == [""] * len(rows)
    assert list(dropped) == (["train001"] if confirmed else [])
    assert len(told["pairs"]) == confirmed
    rejected = {"first": "test102", "second": "train001", "similarity": 0.3, "problem": ""}
    assert list(told["rejected"]) == ([] if confirmed else [rejected])


@pytest.mark.parametrize("leakage", ["report", "drop_train"])
def test_what_only_the_gpus_parser_refuses_is_a_flag_and_changes_nothing_else(leakage):
    clips = [
        make_clip("train", 0, 1),
        make_clip("test", 0, 2),
        make_clip("train", 0, 3),
        make_clip("val", 0, 4),
    ]
    instances = [  # the first two are the same segment
        instance(clip.video_id, frame_start=start, frame_end=start + 9, split=clip.split)
        for clip, start in zip(clips, [1, 1, 20, 40], strict=True)
    ]
    matches = {"train003": Match("x.mp4", "url_name", "is too long"), "val004": Match("x.mp4", "url_name")}

    def audited(found):
        proofs = {
            clip.video_id: proof_with(found.get(clip.video_id, ""), number)
            for number, clip in enumerate(clips)
        }
        return audit_clips(clips, instances, matches, proofs, AuditSettings(leakage=leakage), confirm_all)

    text = "picture 12, slice 0, macroblock 300, bit 4182: the slice goes on after its data end"
    rows, found, dropped = audited(dict.fromkeys(["train001", "test002", "train003"], text))
    plain_rows, plain_found, plain_dropped = audited({})
    assert {row.video_id: row.flags for row in rows} == {
        **({"train001": "bitstream leakage"} if leakage == "report" else {}),
        "test002": "bitstream leakage" if leakage == "report" else "bitstream",
        "train003": "suspect bitstream",
        "val004": "",
    }
    assert (found.as_dict(), dropped) == (plain_found.as_dict(), plain_dropped)
    assert [replace(row, flags="") for row in rows] == [replace(row, flags="") for row in plain_rows]


# ---------------------------------------------------------------- content


def fingerprint_of(path: Path) -> tuple[str, float]:
    count = len(decode_file(path).timeline.times)
    decoded = decode_file(
        path, thumbnail_frames=fingerprint.frames_to_keep(count), thumbnail_side=fingerprint.SIDE
    )
    return fingerprint.to_text(decoded.thumbnails), float(decoded.timeline.duration)


@pytest.fixture(scope="module")
def signed(demo_dir, tmp_path_factory):
    """Fingerprints of a few whole demo clips, each also at half the size."""
    import json

    truth = json.loads((demo_dir / "metadata" / "demo_truth.json").read_text())["instances"]
    folder, prints = tmp_path_factory.mktemp("small"), {}
    sources = sorted(
        {one["raw"] for one in truth.values() if one["outcome"] == "clip" and one["can_be_copied"]}
    )
    for raw in sources[:12]:
        path = demo_dir / "raw" / raw
        prints[f"{raw} large"] = fingerprint_of(path)
        prints[f"{raw} small"] = fingerprint_of(shrink(path, folder / "small.mp4"))
    return prints


def test_the_same_content_is_proposed_under_another_name_and_size(signed):
    names = {name.rsplit(" ", 1)[0] for name in signed}
    assert set(propose_copies(signed)) >= {(f"{name} large", f"{name} small") for name in names}


def test_two_clips_without_movement_are_not_proposed():
    """One wall, some noise, nobody in front of it: nothing tells one sign from another."""
    wall = np.random.default_rng(0).integers(50, 200, (fingerprint.SIDE, fingerprint.SIDE))
    noise = np.random.default_rng(1).integers(0, 2, (fingerprint.FRAMES, fingerprint.SIDE, fingerprint.SIDE))
    still = {name: (fingerprint.to_text((wall + noise).astype(np.uint8)), 2.0) for name in "ab"}
    assert propose_copies(still) == []
    moving = {name: (fingerprint.to_text((wall + 20 * noise).astype(np.uint8)), 2.0) for name in "ab"}
    assert propose_copies(moving) == [("a", "b")]


def test_other_lengths_are_other_contents(signed):
    name, (text, duration_s) = next(iter(signed.items()))
    assert propose_copies({name: (text, duration_s), "x": (text, duration_s + 0.2)}) == []
    assert len(propose_copies({name: (text, duration_s), "x": (text, duration_s + 0.05)})) == 1


def test_a_fingerprint_survives_as_text(signed):
    text = next(iter(signed.values()))[0]
    assert fingerprint.to_text(fingerprint.from_text(text)) == text
    for wrong in ("", "AAAA", text[:-4], "é"):
        with pytest.raises(ValueError):  # noqa: PT011  numpy's or base64's words
            fingerprint.from_text(wrong)


@given(st.integers(1, 500))
def test_kept_frames_are_in_range_and_rise(count):
    kept = fingerprint.frames_to_keep(count)
    assert len(kept) == fingerprint.FRAMES
    assert kept == sorted(kept)
    assert kept[0] >= 0
    assert kept[-1] < count


def test_content_pairs_are_added_to_those_of_the_metadata(signed):
    large, small = sorted(signed)[:2]
    instances = [
        instance(large, "http://a.example/1.mp4"),
        instance(small, "http://b.example/2.mp4", split="test"),
    ]
    prints = {name: signed[name] for name in (large, small)}
    pairs, rejected = find_pairs(instances, prints, confirm_all)
    (pair,) = pairs
    found = audit(instances, [], pairs, min_per_class=1)
    assert (pair.kind, pair.is_leakage, pair.similarity, rejected) == ("same content", True, 0.9, [])
    assert found.counts()["same content"] == {"pairs": 1, "across_splits": 1, "two_glosses": 0}
    same_url = [instance(large), instance(small)]
    again, rejected = find_pairs(same_url, prints, confirm_all)
    assert [pair.kind for pair in again] == ["same segment"]  # listed once
    assert rejected == []  # and not compared
