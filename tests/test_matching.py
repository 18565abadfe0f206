import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.preprocess.matching import (
    Match,
    MatchingError,
    Unmatched,
    folded,
    match,
    scan_raw,
    url_name,
    youtube_id,
)
from asl.preprocess.metadata import Instance

ID = "0UzEF7ru0sQ"


def instance(video_id, url, **changes):
    fields = {"gloss": "book", "split": "train", "site": "s", "frame_start": 1, "frame_end": -1}
    return Instance(**fields | {"bbox": None, "signer_id": -1, "video_id": video_id, "url": url} | changes)


def rules(instances, files):
    return {
        video_id: (found.rule, found.source) if isinstance(found, Match) else found.reason
        for video_id, found in match(instances, files).items()
    }


@pytest.mark.parametrize(
    "url",
    [
        f"https://www.youtube.com/watch?v={ID}",
        f"https://youtube.com/watch?t=3&v={ID}#x",
        f"https://m.youtube.com/watch?v={ID}",
        f"https://youtu.be/{ID}",
        f"https://youtu.be/{ID}?t=5",
        f"https://www.youtube.com/embed/{ID}?rel=0",
        f"https://www.youtube-nocookie.com/embed/{ID}",
    ],
)
def test_youtube_ids_are_found_in_every_form_of_url(url):
    assert youtube_id(url) == ID
    assert url_name(url) is None


@pytest.mark.parametrize(
    "url",
    ["https://youtu.be/short", f"https://vimeo.com/{ID}", f"https://notyoutube.com/watch?v={ID}", "", ID],
)
def test_other_urls_have_no_youtube_id(url):
    assert youtube_id(url) is None


def test_names_are_compared_without_case_and_encoding():
    assert folded("SignSchool%20Caf%C3%A9.MP4") == folded("signschool CAFÉ.mp4")
    assert url_name("https://x.example/a/Sign%20School.MP4?x=1") == "sign school.mp4"
    assert url_name("https://x.example/watch") is None


def test_each_rule_finds_its_file():
    instances = [
        instance("00001", "http://a.example/book.mp4"),
        instance("00002", f"https://youtu.be/{ID}"),
        instance("00003", f"https://www.youtube.com/watch?v={ID}", frame_start=5, frame_end=9),
        instance("00004", "http://a.example/Sign%20School.mp4"),
        instance("00005", "http://a.example/gone.mp4"),
    ]
    files = ["raw/00001.mkv", f"yt/{ID}.webm", "SIGN school.MP4", "other.mp4"]
    assert rules(instances, files) == {
        "00001": ("video_id", "raw/00001.mkv"),
        "00002": ("youtube_id", f"yt/{ID}.webm"),
        "00003": ("youtube_id", f"yt/{ID}.webm"),
        "00004": ("url_name", "SIGN school.MP4"),
        "00005": "no file",
    }


def test_a_name_with_the_id_in_brackets_is_known_and_case_matters():
    instances = [instance("1", f"https://youtu.be/{ID}")]
    assert rules(instances, [f"Some title [{ID}].mkv"]) == {"1": ("youtube_id", f"Some title [{ID}].mkv")}
    assert rules(instances, [f"{ID.lower()}.mp4"]) == {"1": "no file"}


def test_the_strongest_rule_wins_and_the_preferred_format():
    instances = [instance("1", "http://a.example/book.mp4"), instance("2", f"https://youtu.be/{ID}")]
    files = ["book.mp4", "1.webm", "1.mp4", f"{ID}.webm", f"{ID}.mkv"]
    assert rules(instances, files) == {"1": ("video_id", "1.mp4"), "2": ("youtube_id", f"{ID}.mkv")}


def test_a_name_that_two_urls_share_is_left_out_with_its_rivals():
    instances = [
        instance("1", "http://a.example/apple.mp4"),
        instance("2", "http://b.example/apple.mp4"),
        instance("3", "http://b.example/Apple.mp4"),
    ]
    found = match(instances, ["apple.mp4"])
    assert {one.reason for one in found.values()} == {"shared name"}
    assert found["1"].rivals == ("2", "3")
    assert "name it 1.mp4" in found["1"].detail


def test_instances_of_one_url_share_its_file():
    instances = [
        instance("1", "http://a.example/x.mp4"),
        instance("2", "http://a.example/x.mp4", frame_end=9),
    ]
    assert rules(instances, ["x.mp4"]) == {"1": ("url_name", "x.mp4"), "2": ("url_name", "x.mp4")}


def test_a_number_can_be_a_video_id_and_another_ones_url_name():
    """As 14885.mp4 of WLASL100: signingsavvy's file name, and the video_id of another instance."""
    instances = [instance("14885", "http://a.example/x.mp4"), instance("2", "http://b.example/14885.mp4")]
    assert rules(instances, ["14885.mp4"]) == {"14885": "shared name", "2": "shared name"}
    assert rules(instances, ["14885.mp4", "2.mp4"])["2"] == ("video_id", "2.mp4")


def test_one_url_name_in_two_folders_is_not_guessed():
    found = match([instance("1", "http://a.example/x.mp4")], ["a/x.mp4", "b/x.mp4"])["1"]
    assert isinstance(found, Unmatched)
    assert found.candidates == ("a/x.mp4", "b/x.mp4")


@st.composite
def folders(draw):
    """Instances and files whose names collide often."""
    sites, names = ["a.example", "b.example"], ["1", "2", "3", "x", "y"]
    urls = st.builds("http://{}/{}.mp4".format, st.sampled_from(sites), st.sampled_from(names))
    youtube = st.sampled_from([f"https://youtu.be/{ID}", f"https://www.youtube.com/watch?v={ID}"])
    ids = draw(st.lists(st.sampled_from(["1", "2", "3", "4", "5", "6"]), unique=True, min_size=1))
    instances = [instance(video_id, draw(urls | youtube)) for video_id in ids]
    stems = [*names, "4", "5", ID]
    files = draw(
        st.lists(st.sampled_from([f"{stem}.{end}" for stem in stems for end in ("mp4", "MKV")]), unique=True)
    )
    return instances, files


@given(folders(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(folder, order: random.Random):
    instances, files = folder
    shuffled, mixed = instances[:], files[:]
    order.shuffle(shuffled)
    order.shuffle(mixed)
    assert match(instances, files) == match(shuffled, mixed)


@given(folders())
def test_no_file_ever_serves_two_different_videos(folder):
    instances, files = folder
    url_of = {one.video_id: youtube_id(one.url) or one.url for one in instances}
    urls_of: dict[str, set[str]] = {}
    for video_id, found in match(instances, files).items():
        if isinstance(found, Match):
            urls_of.setdefault(found.source, set()).add(url_of[video_id])
    assert all(len(urls) == 1 for urls in urls_of.values())


def test_only_videos_are_scanned_in_every_folder(tmp_path):
    for name in ("b.mp4", "deep/er/A.MKV", ".hidden.mp4", "x.mp4.part", "notes.txt", "dir.mp4/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert scan_raw(tmp_path) == ["b.mp4", "deep/er/A.MKV"]
    with pytest.raises(MatchingError, match=r"no such folder \(paths\.raw_dir\)"):
        scan_raw(tmp_path / "nowhere")
