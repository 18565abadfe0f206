"""What lengths and picture sizes say about the source of an instance."""

import dataclasses
import re

import pytest
from instances import make_instance

from asl.datasets.instance import Box
from asl.preprocess.sources.evidence import (
    LARGEST_DOWNSCALE,
    MATCHING_EXCESS,
    POSSIBLE_EXCESS,
    Evidence,
    Verdict,
    box_in_shares,
    box_scale,
    box_verdict,
    excess_frames,
    length_verdict,
)
from asl.preprocess.sources.raw_files import RawVideo


def test_a_box_is_compared_up_to_a_common_scale():
    assert box_scale(Box(0, 0, 500, 720), 1280, 720) == 1
    assert box_verdict(Box(0, 0, 500, 720), 1280, 720) is Verdict.MATCHES
    assert box_verdict(Box(0, 0, 500, 720), 640, 360) is Verdict.POSSIBLE  # downloaded at half the size
    assert box_verdict(Box(0, 0, 500, 1080), 320, 1080 / LARGEST_DOWNSCALE - 1) is Verdict.RULED_OUT
    assert box_verdict(None, 640, 360) is box_verdict(Box(0, 0, 0, 0), 640, 360) is Verdict.UNKNOWN


def test_lengths_as_measured_on_real_clips_match():
    for excess in (-0.5, 0, 2.9):  # the extremes of 57 clips
        assert length_verdict(60, (60 - excess) / 25) is Verdict.MATCHES
    assert MATCHING_EXCESS[0] - POSSIBLE_EXCESS[0] >= 1 <= POSSIBLE_EXCESS[1] - MATCHING_EXCESS[1]
    assert length_verdict(60, (60 - 4.5) / 25) is Verdict.POSSIBLE
    assert length_verdict(60, 3) is Verdict.RULED_OUT
    assert length_verdict(None, 3) is length_verdict(60, 0) is Verdict.UNKNOWN


@pytest.mark.parametrize("fps", [25.0, 30.0])
@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        (-2.1, Verdict.RULED_OUT),
        (-2.0, Verdict.POSSIBLE),
        (-1.1, Verdict.POSSIBLE),
        (-1.0, Verdict.MATCHES),
        (4.0, Verdict.MATCHES),
        (4.1, Verdict.POSSIBLE),
        (5.0, Verdict.POSSIBLE),
        (5.1, Verdict.RULED_OUT),
    ],
)
def test_lengths_match_from_1_frame_more_to_4_less_and_are_ruled_out_a_frame_further(excess, expected, fps):
    duration_s = (60 - excess) / fps
    assert length_verdict(60, duration_s, fps) is expected
    evidence = Evidence({"x.mp4": RawVideo(duration_s, 640, 480)}, {"1": 60}, fps)
    assert evidence.length(make_instance("1", "http://a.example/x.mp4"), "x.mp4") is expected
    assert evidence.length(make_instance("1", "http://a.example/x.mp4", 5, 60), "x.mp4") is Verdict.UNKNOWN
    assert evidence.length(make_instance("2", "http://a.example/x.mp4"), "x.mp4") is Verdict.UNKNOWN
    assert evidence.length(make_instance("1", "http://a.example/x.mp4"), "y.mp4") is Verdict.UNKNOWN


def test_lengths_are_compared_at_25_frames_a_second_unless_the_metadata_says_otherwise():
    assert excess_frames(55, 2.12) == 2.0
    assert length_verdict(60, 2.4) is Verdict.MATCHES
    assert Evidence().fps == 25.0
    assert length_verdict(60, 2.4, 30.0) is Verdict.RULED_OUT
    assert length_verdict(60, 0) is length_verdict(60, -1.0) is Verdict.UNKNOWN
    assert length_verdict(30, 1.0) is Verdict.POSSIBLE  # 5 frames


@pytest.mark.parametrize(
    ("excess", "message"),
    [
        (-12.1, r"is 2.88 s long, but 2.40 s were published for it \(-12 frames\)"),
        (-12.0, None),
        (15.0, None),
        (15.1, r"is 1.80 s long, but 2.40 s were published for it \(\+15 frames\)"),
    ],
)
def test_a_source_half_a_second_too_long_or_too_short_is_suspect(excess, message):
    evidence = Evidence({"x.mp4": RawVideo((60 - excess) / 25, 640, 480)}, {"1": 60})
    objection = evidence.objection(make_instance("1", "http://a.example/x.mp4"), "x.mp4")
    assert re.fullmatch(message, objection) if message else objection is None
    assert evidence.objection(make_instance("1", "http://a.example/x.mp4", 5, 60), "x.mp4") is None
    assert evidence.objection(make_instance("2", "http://a.example/x.mp4"), "x.mp4") is None
    assert evidence.objection(make_instance("1", "http://a.example/x.mp4"), "y.mp4") is None


def test_an_unknown_length_is_no_objection_and_a_short_one_is():
    short, unknown = RawVideo(0.5, 640, 480), RawVideo(0.0, 640, 480)
    evidence = Evidence({"short.mp4": short, "unknown.mp4": unknown}, {"1": 60})
    instance = make_instance("1", "http://a.example/x.mp4")
    assert evidence.objection(instance, "short.mp4") is not None
    assert evidence.objection(instance, "unknown.mp4") is None


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (102, Verdict.MATCHES),  # a pixel or two too large
        (103, Verdict.POSSIBLE),
        (450, Verdict.POSSIBLE),  # 1080 lines to 240
        (451, Verdict.RULED_OUT),
    ],
)
def test_boxes_fit_up_to_2_percent_and_after_scaling_up_to_4_5_times(end, expected, axis):
    box = Box(0, 0, end, 50) if axis == 0 else Box(0, 0, 50, end)
    assert box_verdict(box, 100, 100) is expected
    instance = make_instance("1", "http://a.example/x.mp4", box=box)
    evidence = Evidence({"x.mp4": RawVideo(2.4, 100, 100)})
    assert evidence.box(instance, "x.mp4") is expected
    assert evidence.box(instance, "y.mp4") is Verdict.UNKNOWN
    ruled_out = f"is 100x100, and the signer's box {[0, 0, box.right, box.bottom]} lies far outside"
    assert evidence.objection(instance, "x.mp4") == (ruled_out if expected is Verdict.RULED_OUT else None)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (None, (100, 100)),
        (Box(0, 0, 50, 50), (0, 100)),
        (Box(0, 0, 50, 50), (100, 0)),
        (Box(0, 0, 0, 0), (100, 100)),
        (Box(-9, -9, -1, 0), (100, 100)),
        (Box(-9, -9, -1, -1), (100, 100)),
    ],
)
def test_a_box_or_a_picture_that_is_empty_decides_nothing(box, size):
    assert box_verdict(box, *size) is Verdict.UNKNOWN
    assert box_verdict(Box(0, 0, 1, 1), 1, 1) is Verdict.MATCHES


@pytest.mark.parametrize(
    ("box", "shares"),
    [
        (Box(160, 36, 320, 360), (0.25, 0.1, 0.5, 1.0)),
        (Box(160, 36, 646, 366), (0.25, 0.1, 1.0, 1.0)),  # a pixel or two too large
        (Box(160, 36, 660, 360), None),
        (Box(160, -20, 320, 360), None),
        (Box(160, 36, 160, 360), None),
        (Box(320, 72, 640, 720, width=1280, height=720), (0.25, 0.1, 0.5, 1.0)),
        (Box(160, 36, 320, 360, width=640), (0.25, 0.1, 0.5, 1.0)),
        (Box(160, 36, 320, 360, height=366), (0.25, 0.0984, 0.5, 0.9836)),
        (Box(160, 36, 320, 360, width=1280), None),
        (Box(160, 36, 320, 360, height=720), None),
        (Box(320, 72, 640, 720, width=960, height=720), None),  # 4:3, and the file is 16:9
        (Box(0.25, 0.1, 0.5, 1, "shares"), (0.25, 0.1, 0.5, 1.0)),
        (Box(0.25, 0.1, 0.5, 1, "shares", width=960, height=720), None),
        (Box(0.25, 0.1, 0.5, 36, "shares"), None),
        (None, None),
    ],
)
def test_a_box_in_shares_is_empty_where_it_does_not_fit_the_file(box, shares):
    assert box_in_shares(box, 640, 360) == shares
    assert box_in_shares(box, 0, 0) is None


def test_a_box_in_shares_rules_no_file_out():
    assert box_verdict(Box(0.1, 0.1, 0.9, 0.9, "shares"), 640, 360) is Verdict.UNKNOWN


def test_a_file_of_another_rate_than_its_span_was_counted_in_is_suspect():
    instance = dataclasses.replace(make_instance("1", "", 5, 60), source_fps=30.0)
    for fps, objects in ((30.0, False), (29.97, False), (0.0, False), (25.0, True), (60.0, True)):
        objection = Evidence({"1.mp4": RawVideo(9, 640, 480, fps)}).objection(instance, "1.mp4")
        assert (objection is not None) is objects
    assert objection == "has 60 frames a second, but the frames of its span were counted at 30"
