"""What is to be fetched, and under which names."""

from __future__ import annotations

import pytest
from instances import YOUTUBE_ID, make_instance

from asl.datasets.instance import Metadata
from asl.download.plan import absolute_url, plan_downloads
from asl.preprocess.sources.evidence import Evidence
from asl.preprocess.sources.matching import Match, match
from asl.preprocess.sources.names import claims


def plan(instances, files=(), others=()):
    metadata = Metadata(tuple(instances), ("book",), others=tuple(others))
    return plan_downloads(metadata, matched(instances, files, others))


def matched(instances, files, others=()):
    return match(instances, claims([*instances, *others], files), Evidence())


def test_files_are_named_by_video_id_with_the_suffix_of_the_url():
    urls = ["http://a/x/book.mp4", "http://b/book.SWF", "http://c/watch?id=3", "http://d/Sign%20Book.mov"]
    found = plan([make_instance(str(index), url) for index, url in enumerate(urls)])
    assert [fetch.names for fetch in found.fetches] == [("0.mp4",), ("1.swf",), ("2.mp4",), ("3.mov",)]
    assert [fetch.host for fetch in found.fetches] == ["a", "b", "c", "d"]


def test_a_name_that_is_the_url_name_of_another_video_is_avoided():
    # As in WLASL: 14326 is a video_id, and signingsavvy.com has a 14326.mp4.
    one, other = make_instance("14326", "http://a/book.mp4"), make_instance("2", "http://b/14326.mp4")
    names = [fetch.names for fetch in plan([one, other]).fetches]
    assert names == [("14326.mov",), ("2.mp4",)]
    assert [fetch.names for fetch in plan([one], others=[other]).fetches] == [("14326.mov",)]
    found = matched([one, other], ["14326.mov", "2.mp4"])
    assert [found[key].source for key in ("14326", "2")] == ["14326.mov", "2.mp4"]


def test_every_file_of_a_plan_is_the_source_of_its_instances():
    instances = [
        *(make_instance(str(index), f"http://a/{(index + 1) % 7}.mp4") for index in range(7)),
        make_instance("8", "http://b/same.mov"),
        make_instance("9", "http://b/same.mov"),
        make_instance("10", f"https://youtu.be/{YOUTUBE_ID}", 1, 20),
        make_instance("11", f"https://www.youtube.com/watch?v={YOUTUBE_ID}", 21, 40),
    ]
    found = plan(instances)
    assert len(found.fetches) == 9
    files = [
        name if fetch.youtube_id is None else f"{name}.mp4" for fetch in found.fetches for name in fetch.names
    ]
    sources = matched(instances, files)
    assert all(isinstance(source, Match) for source in sources.values())
    assert plan(instances, files).fetches == plan(instances, files).links == ()


def test_only_what_matching_does_not_find_is_fetched():
    a, b, c = (make_instance(key, "http://a/x.mp4") for key in "abc")
    found = plan([a, b, c], ["sub/b.mp4"])
    assert found.there == (b,)
    assert found.fetches == ()
    assert [(fetch.source, fetch.names) for fetch in found.links] == [("sub/b.mp4", ("a.mp4", "c.mp4"))]


def test_the_cut_segment_of_one_instance_is_not_taken_for_the_whole_youtube_video():
    one, other = (make_instance(key, f"https://youtu.be/{YOUTUBE_ID}", 1, 20) for key in "ab")
    found = plan([one, other], ["a.mp4"])
    assert found.links == ()
    assert [(fetch.names, fetch.instances) for fetch in found.fetches] == [((YOUTUBE_ID,), (other,))]
    assert found.fetches[0].url == f"https://www.youtube.com/watch?v={YOUTUBE_ID}"  # one for all forms


def test_what_has_a_path_must_be_that_file_and_is_not_fetched():
    one = make_instance("1", "http://a.org/x.mp4", path="train/x.mp4")
    found = plan([one])
    assert (found.no_url, found.fetches) == ((one,), ())
    assert plan([one], ["train/x.mp4"]).there == (one,)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.org/x.mp4", "http://a.org/x.mp4"),
        (" https://a.org/x.mp4 ", "https://a.org/x.mp4"),
        ("www.youtube.com/watch?v=1", "https://www.youtube.com/watch?v=1"),
        ("a.org:80/x.mp4", "https://a.org:80/x.mp4"),
        ("ftp://a.org/x.mp4", "ftp://a.org/x.mp4"),  # refused when it is its turn
        *((text, None) for text in ("", "x.mp4", "folder/x.mp4", "http://", "http://[", "/a.b/c")),
    ],
)
def test_urls_without_scheme_are_completed_and_file_names_are_none(url, expected):
    assert absolute_url(url) == expected
    if expected is None:
        assert [one.url for one in plan([make_instance("1", url)]).no_url] == [url]


def test_ten_thousand_rows_are_planned_at_once():
    hosts = [f"http://host{index}.org" for index in range(40)]
    instances = [make_instance(f"{i:05}", f"{hosts[i % 40]}/{i // 2}.mp4") for i in range(10_000)]
    found = plan(instances, [f"{i:05}.mp4" for i in range(0, 10_000, 4)])
    assert len(found.there) == 2500
    assert len(found.fetches) + len(found.links) == 7500
