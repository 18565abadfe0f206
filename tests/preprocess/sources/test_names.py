"""Names that raw files and URLs have in common."""

import pytest
from instances import YOUTUBE_ID as ID

from asl.preprocess.sources.names import normalized_name, url_name, youtube_id


@pytest.mark.parametrize(
    "url",
    [
        f"https://www.youtube.com/watch?v={ID}",
        f"https://youtube.com/watch?t=3&v={ID}#x",
        f"https://m.youtube.com/watch?v={ID}",
        f"https://youtu.be/{ID}",
        f"https://youtu.be/{ID}?t=5",
        f"https://www.youtube.com/embed/{ID}?rel=0",
        f"https://www.youtube.com/embed/{ID}/x",
        f"https://www.youtube.com/shorts/{ID}",
        f"https://www.youtube-nocookie.com/embed/{ID}",
        f"www.youtube.com/watch?v={ID}",  # as in MS-ASL
        f"youtu.be/{ID}",
    ],
)
def test_youtube_ids_are_found_in_every_form_of_url(url):
    assert youtube_id(url) == ID
    assert url_name(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://youtu.be/short",
        f"https://vimeo.com/{ID}",
        f"https://notyoutube.com/watch?v={ID}",
        "",
        ID,
        "http://[",
    ],
)
def test_other_urls_have_no_youtube_id(url):
    assert youtube_id(url) is None


def test_names_are_compared_without_case_and_encoding():
    assert normalized_name("SignSchool%20Caf%C3%A9.MP4") == normalized_name("signschool CAFÉ.mp4")
    assert url_name("https://x.example/a/Sign%20School.MP4?x=1") == "sign school.mp4"
    assert url_name("https://x.example/watch") is None
    assert url_name("http://[/a.mp4") is None  # no URL
