"""The usual rule, and the count of its errors."""

from instances import make_instance

from asl.preprocess.sources.evidence import Evidence
from asl.preprocess.sources.matching import Match
from asl.preprocess.sources.names import claims
from asl.preprocess.sources.raw_files import RawVideo
from asl.preprocess.sources.url_name_rule import match_by_url_name, url_name_errors


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
