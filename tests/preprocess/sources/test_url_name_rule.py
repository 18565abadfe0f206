"""The usual rule, and the count of its errors."""

import pytest
from instances import make_instance

from asl.datasets.instance import Box
from asl.preprocess.sources.evidence import Evidence
from asl.preprocess.sources.matching import Match
from asl.preprocess.sources.names import claims
from asl.preprocess.sources.raw_files import RawVideo
from asl.preprocess.sources.url_name_rule import UrlNameErrors, match_by_url_name, url_name_errors


def test_the_usual_rule_is_there_to_compare_and_its_errors_are_counted():
    instances = [
        make_instance("1", "http://a.example/Apple.mp4"),
        make_instance("2", "http://b.example/apple.mp4", split="test"),
        make_instance("3", "http://b.example/apple.mp4"),
        make_instance("4", "http://b.example/pear.mp4"),
        make_instance("5", "http://b.example/plum%20x.mp4"),
    ]
    files = ["apple.mp4", "pear.mp4", "plum x.mp4"]
    old = match_by_url_name(instances, files)
    assert [isinstance(old[video_id], Match) for video_id in "12345"] == [True, True, True, True, False]
    claimed = claims(instances, files)
    errors = url_name_errors(instances, files, claimed, Evidence())
    assert (errors.rows, errors.shared_rows, errors.wrong_at_least, errors.across_splits) == (4, 3, 1, 3)
    assert errors.wrong_by_evidence == 0
    evidence = Evidence({"apple.mp4": RawVideo(2.4, 640, 480)}, {"1": 60, "2": 99, "3": 99})
    assert url_name_errors(instances, files, claimed, evidence).wrong_by_evidence == 2


def errors_of(rows, evidence):
    """Errors of the usual rule for rows ``(site, split, box)`` that are all matched to ``apple.mp4``."""
    instances = [
        make_instance(str(number), f"http://{site}.example/apple.mp4", split=split, box=box and Box(*box))
        for number, (site, split, box) in enumerate(rows, start=1)
    ]
    return url_name_errors(instances, ["apple.mp4"], claims(instances, ["apple.mp4"]), evidence)


def test_all_rows_but_those_of_the_most_frequent_url_are_wrong_at_least():
    rows = [(site, "train", None) for site in "aaabbc"]
    assert errors_of(rows, Evidence()) == UrlNameErrors(6, 6, 3, 0, 0)
    assert errors_of(rows[:3], Evidence()) == UrlNameErrors(3, 0, 0, 0, 0)
    assert errors_of([], Evidence()) == UrlNameErrors(0, 0, 0, 0, 0)


def test_splits_are_counted_even_if_the_rows_have_one_url():
    rows = [("a", "train", None), ("a", "test", None), ("a", "train", None)]
    assert errors_of(rows, Evidence()) == UrlNameErrors(3, 0, 0, 0, 3)


@pytest.mark.parametrize(("owner", "other"), ["ab", "ba"])
def test_lengths_and_boxes_count_against_the_rule_each_on_its_own(owner, other):
    raw = {"apple.mp4": RawVideo(2.4, 80, 60)}
    rows = [(owner, "train", (0, 0, 50, 60)), (other, "train", (0, 0, 500, 900)), (other, "train", None)]
    ruled_out_by_length = Evidence(raw, {"1": 90, "2": 90})
    assert errors_of(rows[:2], ruled_out_by_length).wrong_by_evidence == 2  # it is neither's
    given_to_the_first_by_boxes = Evidence(raw, {"1": 60, "2": 60})
    assert errors_of(rows[:2], given_to_the_first_by_boxes).wrong_by_evidence == 1
    undecided = Evidence(raw, {"1": 60, "2": 60, "3": 60})
    assert errors_of(rows, undecided).wrong_by_evidence == 0
    assert errors_of([rows[0]] * 2, Evidence(raw, {"2": 90})).wrong_by_evidence == 1  # one URL


def test_a_file_that_no_instance_claims_has_no_owner():
    instances = [make_instance("1", "http://a.example/watch?u=x/apple.mp4")]
    assert claims(instances, ["apple.mp4"]) == {}
    assert url_name_errors(instances, ["apple.mp4"], {}, Evidence()) == UrlNameErrors(1, 0, 0, 0, 0)


def test_of_files_of_one_name_the_first_folder_is_taken():
    instances = [make_instance("1", "http://a.example/apple.mp4")]
    assert match_by_url_name(instances, ["b/apple.mp4", "a/Apple.mp4"])["1"] == Match(
        "a/Apple.mp4", "url_name"
    )


def test_a_url_may_be_a_file_name_alone():
    found = match_by_url_name([make_instance("1", "apple.mp4"), make_instance("2", "")], ["apple.mp4"])
    assert found["1"] == Match("apple.mp4", "url_name")
    assert found["2"].reason == "no file"


def test_a_source_that_the_metadata_names_is_not_matched_by_its_url():
    instances = [
        make_instance("1", "http://a.example/x.mp4", path="y.mp4"),
        make_instance("2", "", path="y.mp4"),
    ]
    assert match_by_url_name(instances, ["x.mp4", "y.mp4"]) == {}
    claimed = claims(instances, ["x.mp4", "y.mp4"])
    assert url_name_errors(instances, ["x.mp4", "y.mp4"], claimed, Evidence()).rows == 0
