"""What lengths and picture sizes say about the source of an instance."""

from asl.preprocess.sources.evidence import (
    LARGEST_DOWNSCALE,
    MATCHING_EXCESS,
    POSSIBLE_EXCESS,
    Verdict,
    box_scale,
    box_verdict,
    length_verdict,
)


def test_a_box_is_compared_up_to_a_common_scale():
    assert box_scale((0, 0, 500, 720), 1280, 720) == 1
    assert box_verdict((0, 0, 500, 720), 1280, 720) is Verdict.MATCHES
    assert box_verdict((0, 0, 500, 720), 640, 360) is Verdict.POSSIBLE  # downloaded at half the size
    assert box_verdict((0, 0, 500, 1080), 320, 1080 / LARGEST_DOWNSCALE - 1) is Verdict.RULED_OUT
    assert box_verdict(None, 640, 360) is box_verdict((0, 0, 0, 0), 640, 360) is Verdict.UNKNOWN


def test_lengths_as_measured_on_real_clips_match():
    for excess in (-0.5, 0, 2.9):  # the extremes of 57 clips
        assert length_verdict(60, (60 - excess) / 25) is Verdict.MATCHES
    assert MATCHING_EXCESS[0] - POSSIBLE_EXCESS[0] >= 1 <= POSSIBLE_EXCESS[1] - MATCHING_EXCESS[1]
    assert length_verdict(60, (60 - 4.5) / 25) is Verdict.POSSIBLE
    assert length_verdict(60, 3) is Verdict.RULED_OUT
    assert length_verdict(None, 3) is length_verdict(60, 0) is Verdict.UNKNOWN
