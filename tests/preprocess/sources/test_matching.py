"""Which raw file is an instance's source."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from instances import YOUTUBE_ID as ID
from instances import make_instance

from asl.datasets.instance import Box
from asl.preprocess.sources.evidence import Evidence
from asl.preprocess.sources.matching import Match, Unmatched, owner_of
from asl.preprocess.sources.matching import match as match_claims
from asl.preprocess.sources.names import claims, youtube_id
from asl.preprocess.sources.raw_files import RawVideo


def match(instances, files, *, lengths=None, ends=None, size=(640, 480), **options):
    """Match by names, and by ``lengths`` (seconds by file) and published ``ends`` (frames by video_id)."""
    raw_videos = {file: RawVideo(seconds, *size) for file, seconds in (lengths or {}).items()}
    return match_claims(instances, claims(instances, files), Evidence(raw_videos, ends or {}), **options)


def rules(instances, files, **evidence):
    return {
        video_id: (found.rule, found.source) if isinstance(found, Match) else found.reason
        for video_id, found in match(instances, files, **evidence).items()
    }


def test_each_rule_finds_its_file():
    instances = [
        make_instance("00001", "http://a.example/book.mp4"),
        make_instance("00002", f"https://youtu.be/{ID}"),
        make_instance("00003", f"https://www.youtube.com/watch?v={ID}", frame_start=5, frame_end=9),
        make_instance("00004", "http://a.example/Sign%20School.mp4"),
        make_instance("00005", "http://a.example/gone.mp4"),
    ]
    files = ["raw/00001.mkv", f"yt/{ID}.webm", "SIGN school.MP4", "other.mp4"]
    assert rules(instances, files) == {
        "00001": ("video_id", "raw/00001.mkv"),
        "00002": ("youtube_id", f"yt/{ID}.webm"),
        "00003": ("youtube_id", f"yt/{ID}.webm"),
        "00004": ("url_name", "SIGN school.MP4"),
        "00005": "no file",
    }


def test_a_file_that_the_metadata_names_is_the_source_whatever_its_name():
    by_path = [
        make_instance("1", "", path="a/./x.mp4"),
        make_instance("2", "", 26, 50, path="a/x.mp4"),
        make_instance("3", "http://a.example/4.mp4", path="gone.mp4"),
        make_instance("5", "", path="gone.mp4"),
        make_instance("7", "", path="a/video"),
        make_instance("8", "", path="\u00e9.mp4"),
    ]
    by_name = [make_instance("x", ""), make_instance("4", "http://a.example/x.mp4"), make_instance("6", "")]
    found = match([*by_path, *by_name], ["a/x.mp4", "4.mp4", "3.mp4", "a/video", "e\u0301.mp4"])
    assert [found[video_id] for video_id in "12"] == [Match("a/x.mp4", "path")] * 2
    assert [(found[video_id].reason, found[video_id].detail) for video_id in "35x6"] == [
        ("no file", "download http://a.example/4.mp4 as gone.mp4 below dataset.root"),
        *[("no file", f"put it at {file}") for file in ("gone.mp4 below dataset.root", "x.mp4", "6.mp4")],
    ]
    assert found["8"] == Match("e\u0301.mp4", "path")  # as macOS stores it
    assert (found["4"], found["7"]) == (Match("4.mp4", "video_id"), Match("a/video", "path"))


def test_a_name_with_the_id_in_brackets_is_known_and_case_matters():
    instances = [make_instance("1", f"https://youtu.be/{ID}")]
    assert rules(instances, [f"Some title [{ID}].mkv"]) == {"1": ("youtube_id", f"Some title [{ID}].mkv")}
    assert rules(instances, [f"{ID.lower()}.mp4"]) == {"1": "no file"}


def test_the_strongest_rule_wins_and_the_preferred_format():
    instances = [
        make_instance("1", "http://a.example/book.mp4"),
        make_instance("2", f"https://youtu.be/{ID}"),
    ]
    files = ["book.mp4", "1.webm", "1.mp4", f"{ID}.webm", f"{ID}.mkv"]
    assert rules(instances, files) == {"1": ("video_id", "1.mp4"), "2": ("youtube_id", f"{ID}.mkv")}


def test_a_name_that_two_urls_share_is_left_out_with_its_rivals():
    instances = [
        make_instance("1", "http://a.example/apple.mp4"),
        make_instance("2", "http://b.example/apple.mp4"),
        make_instance("3", "http://b.example/Apple.mp4"),
    ]
    found = match(instances, ["apple.mp4"])
    assert {one.reason for one in found.values()} == {"shared name"}
    assert found["1"].rivals == ("2", "3")
    assert "name it 1.mp4" in found["1"].detail


def test_instances_of_one_url_share_its_file():
    instances = [
        make_instance("1", "http://a.example/x.mp4"),
        make_instance("2", "http://a.example/x.mp4", frame_end=9),
    ]
    assert rules(instances, ["x.mp4"]) == {"1": ("url_name", "x.mp4"), "2": ("url_name", "x.mp4")}


def test_a_number_can_be_a_video_id_and_another_ones_url_name():
    """As 14885.mp4 of WLASL100: signingsavvy's file name, and the video_id of another instance."""
    instances = [
        make_instance("14885", "http://a.example/x.mp4"),
        make_instance("2", "http://b.example/14885.mp4"),
    ]
    assert rules(instances, ["14885.mp4"]) == {"14885": "shared name", "2": "shared name"}
    assert rules(instances, ["14885.mp4", "2.mp4"])["2"] == ("video_id", "2.mp4")


def test_one_url_name_in_two_folders_is_not_guessed():
    found = match([make_instance("1", "http://a.example/x.mp4")], ["a/x.mp4", "b/x.mp4"])["1"]
    assert isinstance(found, Unmatched)
    assert found.candidates == ("a/x.mp4", "b/x.mp4")


def apples():
    """Two videos of one name."""
    return [
        make_instance("1", "http://a.example/apple.mp4"),
        make_instance("2", "http://b.example/apple.mp4"),
    ]


@pytest.mark.parametrize("excess", [0, 1.5, 3])
def test_a_shared_name_goes_to_the_video_whose_length_it_has(excess):
    ends = {"1": 60, "2": 90}
    for owner, other in (("1", "2"), ("2", "1")):
        lengths = {"apple.mp4": (ends[owner] - excess) / 25}
        found = rules(apples(), ["apple.mp4"], ends=ends, lengths=lengths)
        assert found == {owner: ("evidence", "apple.mp4"), other: "shared name"}


@pytest.mark.parametrize(
    ("ends", "seconds"),
    [
        ({"1": 60, "2": 64}, 60 / 25),  # both possible
        ({"1": 60, "2": 90}, 75 / 25),  # neither's
        ({"1": 60}, 60 / 25),  # of the other nothing is known
        ({}, 60 / 25),
        ({"1": 60, "2": 90}, 0),  # the file's length is unknown
    ],
)
def test_a_shared_name_goes_to_no_video_if_lengths_do_not_decide(ends, seconds):
    found = rules(apples(), ["apple.mp4"], ends=ends, lengths={"apple.mp4": seconds})
    assert found == {"1": "shared name", "2": "shared name"}
    assert rules(apples(), ["apple.mp4"], ends={"1": 60, "2": 90}) == found  # the file cannot be opened


def test_a_segment_is_never_ruled_out_by_the_length_of_its_file():
    instances = [
        make_instance("1", "http://a.example/apple.mp4"),
        make_instance("2", "http://b.example/apple.mp4", frame_start=20, frame_end=60),
    ]
    found = rules(instances, ["apple.mp4"], ends={"1": 60, "2": 60}, lengths={"apple.mp4": 2.4})
    assert found == {"1": "shared name", "2": "shared name"}


@pytest.mark.parametrize(
    ("size", "owner"),
    [
        ((80, 60), "1"),  # the other's box would need fifteen times the size
        ((500, 400), None),  # both are possible
        ((25, 30), None),  # one is possible, the other cannot be, but nothing speaks for the first
        ((8, 6), None),  # neither fits: a thumbnail, of whatever
    ],
)
def test_where_lengths_leave_two_a_box_that_cannot_lie_in_the_picture_decides(size, owner):
    instances = [
        make_instance("1", "http://a.example/apple.mp4", box=Box(0, 0, 50, 60)),
        make_instance("2", "http://b.example/apple.mp4", box=Box(0, 0, 500, 900)),
    ]
    evidence = {"ends": {"1": 60, "2": 60}, "lengths": {"apple.mp4": 2.4}, "size": size}
    found = rules(instances, ["apple.mp4"], **evidence)
    assert {video_id for video_id, rule in found.items() if rule != "shared name"} == ({owner} - {None})


def test_a_box_never_overrules_the_length():
    instances = [
        make_instance("1", "http://a.example/apple.mp4", box=Box(0, 0, 500, 900)),
        make_instance("2", "http://b.example/apple.mp4", box=Box(0, 0, 50, 60)),
    ]
    evidence = {"ends": {"1": 60, "2": 90}, "lengths": {"apple.mp4": 2.4}, "size": (80, 60)}
    assert rules(instances, ["apple.mp4"], **evidence) == {"1": ("evidence", "apple.mp4"), "2": "shared name"}


def test_a_file_of_the_wrong_length_is_kept_as_suspect_or_dropped():
    instances = [make_instance("1", "http://a.example/x.mp4")]
    evidence = {"ends": {"1": 60}, "lengths": {"x.mp4": 10}}
    kept = match(instances, ["x.mp4"], **evidence)["1"]
    assert kept.objection == "is 10.00 s long, but 2.40 s were published for it (-190 frames)"
    dropped = match(instances, ["x.mp4"], suspect="drop", **evidence)["1"]
    assert (dropped.reason, dropped.candidates) == ("suspect", ("x.mp4",))
    assert match(instances, ["x.mp4"], ends={"1": 60}, lengths={"x.mp4": 2.0})["1"].objection is None


def test_a_file_without_objection_is_preferred_to_a_stronger_rule_with_one():
    instances = [make_instance("1", "http://a.example/x.mp4")]
    lengths = {"1.mp4": 10.0, "x.mp4": 2.4}
    assert rules(instances, list(lengths), ends={"1": 60}, lengths=lengths) == {"1": ("url_name", "x.mp4")}


def test_of_two_files_of_a_name_the_one_of_the_right_length_is_taken():
    instances = [make_instance("1", "http://a.example/x.mp4")]
    lengths = {"a/x.mp4": 10.0, "b/x.mp4": 2.4}
    assert rules(instances, list(lengths), ends={"1": 60}, lengths=lengths) == {"1": ("url_name", "b/x.mp4")}


@pytest.mark.parametrize(("first_s", "second_s"), [(2.4, 2.4), (2.4, 2.56), (2.4, 2.6), (2.6, 2.4)])
def test_of_two_files_of_a_name_none_is_taken_if_both_can_be_it(first_s, second_s):
    """Both match, or one does and the other is up to five frames off."""
    instances = [make_instance("1", "http://a.example/x.mp4")]
    lengths = {"a/x.mp4": first_s, "b/x.mp4": second_s, "c/x.mp4": 10.0}
    found = match(instances, list(lengths), ends={"1": 63}, lengths=lengths)["1"]
    assert (found.reason, found.candidates) == ("several files of its name", tuple(lengths))


def test_whether_evidence_decided_is_returned_with_the_owner():
    evidence = Evidence({"apple.mp4": RawVideo(2.4, 640, 480)}, {"1": 60, "2": 90})
    claimants = claims(apples(), ["apple.mp4"])["apple.mp4"]
    assert owner_of("apple.mp4", claimants[:1], evidence) == ("http://a.example/apple.mp4", False)
    assert owner_of("apple.mp4", claimants, evidence) == ("http://a.example/apple.mp4", True)
    assert owner_of("apple.mp4", claimants, Evidence()) == (None, True)


@st.composite
def folders(draw):
    """Instances and files whose names collide often, with lengths that tell some of them apart."""
    sites, names = ["a.example", "b.example"], ["1", "2", "3", "x", "y"]
    urls = st.builds("http://{}/{}.mp4".format, st.sampled_from(sites), st.sampled_from(names))
    youtube = st.sampled_from([f"https://youtu.be/{ID}", f"https://www.youtube.com/watch?v={ID}"])
    ids = draw(st.lists(st.sampled_from(["1", "2", "3", "4", "5", "6"]), unique=True, min_size=1))
    instances = [make_instance(video_id, draw(urls | youtube)) for video_id in ids]
    stems = [*names, "4", "5", ID]
    files = draw(
        st.lists(st.sampled_from([f"{stem}.{end}" for stem in stems for end in ("mp4", "MKV")]), unique=True)
    )
    frames = st.sampled_from([50, 53, 60, 90])
    ends = {video_id: draw(frames) for video_id in ids if draw(st.booleans())}
    lengths = {file: draw(frames) / 25 for file in files if draw(st.booleans())}
    return instances, files, {"ends": ends, "lengths": lengths}


@given(folders(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(folder, order: random.Random):
    instances, files, evidence = folder
    shuffled, mixed = instances[:], files[:]
    order.shuffle(shuffled)
    order.shuffle(mixed)
    assert match(instances, files, **evidence) == match(shuffled, mixed, **evidence)


@given(folders())
def test_no_file_ever_serves_two_different_videos(folder):
    instances, files, evidence = folder
    url_of = {one.video_id: youtube_id(one.url) or one.url for one in instances}
    urls_of: dict[str, set[str]] = {}
    for video_id, found in match(instances, files, **evidence).items():
        if isinstance(found, Match):
            urls_of.setdefault(found.source, set()).add(url_of[video_id])
    assert all(len(urls) == 1 for urls in urls_of.values())


@given(st.data())
def test_no_file_ever_goes_to_another_video_than_its_own(data):
    """Files named by URL, one for each name, each truly of one of the videos of that name."""
    names = data.draw(st.lists(st.sampled_from("abcde"), unique=True, min_size=1))
    instances, ends, lengths, owner = [], {}, {}, {}
    for name in names:
        rows = [
            make_instance(f"{name}{k}", f"http://{k}.example/{name}.mp4")
            for k in range(data.draw(st.integers(1, 4)))
        ]
        for row in rows:
            ends[row.video_id] = data.draw(st.integers(30, 45))
        owner[f"{name}.mp4"] = data.draw(st.sampled_from(rows))
        lengths[f"{name}.mp4"] = (ends[owner[f"{name}.mp4"].video_id] - data.draw(st.floats(0, 3))) / 25
        instances += rows
    for video_id, found in match(instances, list(owner), ends=ends, lengths=lengths).items():
        if isinstance(found, Match):
            assert owner[found.source].video_id == video_id
