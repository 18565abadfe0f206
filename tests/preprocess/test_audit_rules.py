"""The rules of the audit on a few rows, without videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from clips import make_clip
from instances import make_instance
from test_same_content import frames

from asl.contract.manifest import Clip
from asl.datasets.instance import Metadata, Refused
from asl.preprocess.audit.audit import audit, missing_glosses, signer_overlap, small_classes
from asl.preprocess.audit.confirm import Comparison
from asl.preprocess.audit.manifest_columns import leaking_train_clips, with_flags_and_copies
from asl.preprocess.audit.missing_clips import MissingClip, find_missing_clips, write_missing_clips
from asl.preprocess.audit.pairs import Kind, Pair, find_pairs, make_pair, shared_segments
from asl.preprocess.clips.cutting import CutFailure
from asl.preprocess.clips.fingerprint import to_text
from asl.preprocess.sources.matching import Match, Unmatched

URL = "http://a.example/x.mp4"


def pair(first: str, second: str, kind: Kind = "same segment", **changes: Any) -> Pair:
    """Two instances; the split is the first part of a video_id."""
    ones = [make_instance(one, URL, split=one.rstrip("0123456789")) for one in (first, second)]
    return make_pair(kind, ones[0], dataclasses.replace(ones[1], **changes))


def clips(*video_ids: str) -> list[Clip]:
    return [make_clip(one.rstrip("0123456789"), 0, int(one[-1])) for one in video_ids]


def test_signers_are_compared_with_those_of_train_only() -> None:
    signed = "train 0 a", "val P2 a", "test 0 a", "test 0 b", "test P2 a"
    rows = [(split, signer, gloss) for split, signer, gloss in map(str.split, signed)]
    assert signer_overlap(rows) == {
        "test": 3,
        "signer_in_train": 2,
        "signer_and_gloss_in_train": 1,
        "signer_unknown": 0,
    }
    assert signer_overlap([("train", "", "a"), ("test", "", "a")]) == {
        "test": 1,
        "signer_in_train": 0,
        "signer_and_gloss_in_train": 0,
        "signer_unknown": 1,
    }


def test_instances_without_url_are_of_one_video_only_if_their_path_is_the_same() -> None:
    rows = [("1", "a.mp4"), ("2", "./a.mp4"), ("3", "b.mp4"), ("4", ""), ("5", "")]
    pairs = shared_segments(make_instance(video_id, "", path=path) for video_id, path in rows)
    assert [(pair.kind, pair.first, pair.second) for pair in pairs] == [("same segment", "1", "2")]


def test_classes_with_fewer_clips_are_small_and_the_smallest_come_first() -> None:
    rows = [make_clip("train", 0, 1), make_clip("train", 0, 2), make_clip("test", 2, 3)]
    glosses = ["go", "drink", "book"]
    assert small_classes(rows, glosses, 1) == [("drink", 0), ("go", 0)]
    assert small_classes(rows, glosses, 2) == [("drink", 0), ("go", 0)]
    assert small_classes(rows, glosses, 3) == [("drink", 0), ("go", 0), ("book", 2)]
    assert missing_glosses(rows, glosses) == {
        **{"train": ["go", "drink"], "val": glosses, "test": ["drink", "book"]}
    }


def test_an_audit_counts_pairs_by_kind_and_signers_of_instances_and_clips() -> None:
    pairs = [
        pair("train01", "test02"),
        pair("train01", "train03", gloss="go"),
        pair("train01", "train04", "same content"),
    ]
    instances = [make_instance("1", URL, signer_id="3"), make_instance("2", URL, split="test", signer_id="3")]
    found = audit(instances, clips("train001"), pairs, min_per_class=2, dropped=["train009"])
    assert found.counts() == {
        "same segment": {"pairs": 2, "across_splits": 1, "two_glosses": 1},
        "overlapping segments": {"pairs": 0, "across_splits": 0, "two_glosses": 0},
        "same content": {"pairs": 1, "across_splits": 0, "two_glosses": 0},
    }
    assert found.signers["instances"] == {
        "test": 1,
        "signer_in_train": 1,
        "signer_and_gloss_in_train": 1,
        "signer_unknown": 0,
    }
    assert found.signers["clips"]["test"] == 0
    assert (found.small_classes, found.missing_glosses["test"]) == ([("book", 1)], ["book"])
    told = found.as_dict()
    assert [(one["leakage"], one["conflict"]) for one in told["pairs"]] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert (told["counts"], told["dropped"]) == (found.counts(), ("train009",))


def test_a_pair_is_in_the_order_of_its_video_ids_and_knows_the_other_one() -> None:
    one = make_pair("same content", make_instance("2", "b"), make_instance("1", "a", split="val"), 0.9)
    assert (one.first, one.second, one.splits, one.url) == ("1", "2", ("val", "train"), "a")
    assert (one.similarity, one.other("1"), one.other("2")) == (0.9, "2", "1")
    assert (one.is_leakage, one.is_conflict, one.flags) == (True, False, ("leakage",))


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ((1, 10), (1, 10), "same segment"),
        ((1, -1), (1, -1), "same segment"),
        ((1, 10), (10, 20), "overlapping segments"),
        ((1, 10), (1, 20), "overlapping segments"),
        ((5, 20), (1, -1), "overlapping segments"),
        ((1, 10), (11, 20), None),
        ((30, -1), (1, 10), None),
    ],
)
def test_segments_of_one_video_that_share_a_frame_are_a_pair(
    first: tuple[int, int], second: tuple[int, int], kind: str | None
) -> None:
    ones = [make_instance("1", URL, *first), make_instance("2", URL, *second)]
    assert [one.kind for one in shared_segments(ones)] == ([kind] if kind else [])
    assert list(shared_segments(ones[::-1])) == list(shared_segments(ones))
    elsewhere = make_instance("3", "http://b.example/x.mp4", *first)
    assert list(shared_segments([ones[0], elsewhere])) == []


def test_copies_that_only_the_content_shows_are_pairs_if_they_are_confirmed() -> None:
    def compare(proposals: Sequence[tuple[str, str]]) -> list[Comparison]:
        assert proposals == [("1", "3"), ("2", "3")]  # the metadata names 1 and 2
        return [Comparison("1", "3", 0.9), Comparison("2", "3", 0.7)]

    instances = [make_instance(one, URL if one != "3" else "http://a.example/y.mp4") for one in "321"]
    fingerprint = to_text(frames())
    pairs, rejected = find_pairs(instances, dict.fromkeys("123", (fingerprint, 2.0)), compare)
    assert [(one.kind, one.first, one.second, one.similarity) for one in pairs] == [
        ("same segment", "1", "2", None),
        ("same content", "1", "3", 0.9),
    ]
    assert rejected == [Comparison("2", "3", 0.7)]


def test_flags_and_copies_need_both_clips_and_suspects_only_one() -> None:
    rows = clips("train001", "train002", "test003", "val004")
    pairs = [
        pair("train001", "train002"),
        pair("test003", "train002", gloss="go"),
        pair("val004", "absent9"),
        pair("absent9", "train001"),
    ]
    flagged = with_flags_and_copies(rows, pairs, ["val004", "absent"], ["val004", "train001"])
    assert {clip.video_id: (clip.flags, clip.copies) for clip in flagged} == {
        "train001": ("bitstream duplicate", "train002"),
        "train002": ("leakage conflict duplicate", "test003 train001"),
        "test003": ("leakage conflict", "train002"),
        "val004": ("suspect bitstream", ""),
    }


def test_training_clips_leak_if_a_copy_in_val_or_test_has_a_clip() -> None:
    rows = clips("train001", "train002", "train003", "test004", "val005")
    pairs = [
        pair("train003", "train001"),
        pair("train001", "test004"),
        pair("train001", "test009"),  # has no clip, but is named
        pair("train002", "test009"),
        pair("val005", "test004"),
    ]
    assert leaking_train_clips(pairs, rows) == {"train001": ["test004", "test009"]}
    assert leaking_train_clips([pair("val005", "train003")], rows) == {"train003": ["val005"]}


def test_every_row_without_a_clip_is_listed_by_stage_and_video_id(tmp_path: Any) -> None:
    instances = tuple(make_instance(one, f"http://a.example/{one}.mp4") for one in "7654321")
    contested = Unmatched("shared name", "it is", candidates=("a.mp4", "b.mp4"), rivals=("8", "9"))
    matches = {
        **{one: Match(f"{one}.mp4", "video_id") for one in "76543"},
        **{"2": Unmatched("no file", "download it"), "1": contested},
    }
    failures = {"3": CutFailure("3.mp4 is damaged", "damaged source", 0.5, None)}
    metadata = Metadata(instances, ("book",), (Refused("9", "row 2: x"), Refused("8", "row 3: y")))
    missing = find_missing_clips(metadata, matches, failures, {"4": ["10", "11"]})
    assert [(one.stage, one.video_id, one.is_failure) for one in missing] == [
        *[("metadata", "9", True), ("metadata", "8", True), ("match", "1", False), ("match", "2", False)],
        *[("cut", "3", True), ("audit", "4", False)],
    ]
    common = {"split": "train", "gloss": "book"}
    assert missing[0] == MissingClip(video_id="9", error="row 2: x", stage="metadata", reason="row refused")
    assert missing[2] == MissingClip(
        **{"video_id": "1", "error": "shared name: it is", "stage": "match", "reason": "shared name"},
        **{"source": "a.mp4 b.mp4", "url": "http://a.example/1.mp4", "rivals": "8 9", **common},
    )
    assert missing[4] == MissingClip(
        **{"video_id": "3", "error": "3.mp4 is damaged", "stage": "cut", "reason": "damaged source"},
        **{"source": "3.mp4", "start_s": 0.5, "url": "http://a.example/3.mp4", **common},
    )
    assert missing[5].error == "is the same video as 10, 11 of val or test (audit.leakage=drop_train)"
    assert (missing[5].reason, missing[5].source) == ("leakage", "4.mp4")
    write_missing_clips(tmp_path / "errors.csv", missing)
    lines = (tmp_path / "errors.csv").read_text().splitlines()
    assert lines[0].startswith("video_id,error,stage,reason,split,gloss,source,start_s,end_s,url,rivals")
    assert lines[5] == "3,3.mp4 is damaged,cut,damaged source,train,book,3.mp4,0.5,,http://a.example/3.mp4,"
