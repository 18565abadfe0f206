"""YouTube videos by yt-dlp, whose extractor is replaced: what it finds lies on a server on the loopback."""

from __future__ import annotations

import pytest
from instances import YOUTUBE_ID
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.utils import ExtractorError

from asl.download.run import NothingToUseError
from asl.download.youtube import youtube_failure
from benchmarks.file_server import Page

URL = f"https://www.youtube.com/watch?v={YOUTUBE_ID}"


@pytest.fixture
def youtube(monkeypatch, server):
    """Videos by id: an answer of the extractor for each, its error, or the message of its error."""
    videos = {}

    def extract(self, url):
        video_id = self._match_id(url)
        found = videos[video_id]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, str):
            raise ExtractorError(found, expected=True, video_id=video_id)
        return {"id": video_id, "title": 'a / "title"', "formats": found}

    monkeypatch.setattr(YoutubeIE, "_real_extract", extract)
    monkeypatch.setattr(YoutubeIE, "_real_initialize", lambda self: None)
    return videos


def formats(server, *heights, **more):
    """Streams of pictures, H.264, with their number of lines, and one of sound."""
    pictures = [
        {
            "url": f"{server.url}/{height}.mp4",
            "format_id": str(height),
            "ext": "mp4",
            "vcodec": "avc1.4d401f",
            "acodec": "none",
            "height": height,
            "width": height * 16 // 9,
            **more,
        }
        for height in heights
    ]
    sound = {"url": f"{server.url}/sound", "format_id": "sound", "ext": "m4a", "vcodec": "none"}
    return [sound, *pictures]


def test_a_video_is_named_by_its_id_and_fetched_once_for_all_instances(run, server, youtube, video):
    youtube[YOUTUBE_ID] = formats(server, 360, 720, 1080)
    server.pages["/720.mp4"] = Page(video)
    urls = {"1": URL, "2": f"https://youtu.be/{YOUTUBE_ID}", "3": f"www.youtube.com/watch?v={YOUTUBE_ID}&t=3"}
    data = run(urls)
    assert data.files() == [f"{YOUTUBE_ID}.mp4"]
    assert (data.raw / f"{YOUTUBE_ID}.mp4").read_bytes() == video
    assert [request.path for request in server.requests] == ["/720.mp4"]
    assert data.errors() == {}
    run()
    assert "nothing is left to fetch" in data.out


def test_a_cut_video_is_continued_by_a_later_run_but_not_with_another_format(run, server, youtube, video):
    youtube[YOUTUBE_ID] = formats(server, 360)
    server.pages["/360.mp4"] = Page(video, cut_after=9000)
    with pytest.raises(NothingToUseError):
        run({"1": URL}, tries=1)
    server.pages |= {"/360.mp4": Page(video, etag=None), "/720.mp4": Page(video)}
    youtube[YOUTUBE_ID] = formats(server, 360, 720)
    data = run()
    assert (data.raw / f"{YOUTUBE_ID}.mp4").read_bytes() == video
    assert data.files() == [f"{YOUTUBE_ID}.mp4"]
    assert "Range" not in server.requests_for("/720.mp4")[0].headers


def test_a_private_video_is_not_tried_again(run, server, youtube, data):
    youtube[YOUTUBE_ID] = "Private video. Sign in if you've been granted access to this video"
    with pytest.raises(NothingToUseError):
        run({"1": URL})
    assert data.errors() == {"1": ("private video", "permanent")}
    with pytest.raises(NothingToUseError):
        run()
    assert "1 files are lost" in data.out


def test_a_video_that_is_too_large_or_a_page_is_no_video(run, server, youtube, data, video):
    other = YOUTUBE_ID.lower()
    youtube |= {YOUTUBE_ID: formats(server, 360), other: formats(server, 720)}
    server.pages |= {"/360.mp4": Page(video), "/720.mp4": Page(b"<html>")}
    with pytest.raises(NothingToUseError):
        run({"1": URL, "2": f"https://youtu.be/{other}"}, max_mb=0.001)
    assert data.errors() == {"1": ("too large", "permanent"), "2": ("web page", "permanent")}
    assert data.files() == []


def test_a_video_that_takes_too_long_is_left_for_a_later_run(run, server, youtube, data, video):
    youtube[YOUTUBE_ID] = formats(server, 360)
    server.pages["/360.mp4"] = Page(video, chunk=1000, pause_s=0.1)
    with pytest.raises(NothingToUseError):
        run({"1": URL}, file_timeout_s=0.2)
    assert data.errors() == {"1": ("too slow", "transient")}


def test_a_defect_of_an_extractor_costs_its_video_alone(run, server, youtube, data, video):
    youtube[YOUTUBE_ID] = TypeError("'NoneType' object is not iterable")
    server.pages["/a.mp4"] = Page(video)
    run({"1": URL, "2": f"{server.url}/a.mp4"})
    assert data.errors() == {"1": ("yt-dlp", "transient")}


def test_youtube_can_be_left_out(run, server, video):
    server.pages["/a.mp4"] = Page(video)
    data = run({"1": URL, "2": f"{server.url}/a.mp4"}, youtube=False)
    assert data.files() == ["2.mp4"]
    assert "1 files on YouTube are left out" in data.out


@pytest.mark.parametrize(
    ("message", "reason", "permanent"),
    [
        ("Sign in to confirm you’re not a bot. Use --cookies", "rate limit", False),
        ("Unable to download API page: HTTP Error 429: Too Many Requests", "rate limit", False),
        ("This content isn't available, try again later.", "rate limit", False),
        ("Private video. Sign in if you've been granted access", "private video", True),
        ("Sign in to confirm your age. This video may be inappropriate", "login", True),
        ("Join this channel to get access to members-only content", "login", True),
        ("The uploader has not made this video available in your country", "blocked in this country", True),
        ("Video unavailable. This video has been removed by the uploader", "gone", True),
        ("Video unavailable", "gone", True),
        ("Requested format is not available. Use --list-formats", "yt-dlp", False),
        ("Unable to extract nsig function code", "yt-dlp", False),
        ("Unable to download webpage: HTTP Error 503: Service Unavailable", "no connection", False),
        ("Unable to download webpage: timed out", "no connection", False),
        ("Unable to download API page: (caused by TransportError('Name'))", "no connection", False),
    ],
)
def test_what_youtube_says_is_for_good_or_may_pass(message, reason, permanent):
    error = youtube_failure(f"ERROR: [youtube] {YOUTUBE_ID}: {message}")
    assert (error.failure.reason, error.failure.permanent) == (reason, permanent)
    assert error.failure.detail == f"[youtube] {YOUTUBE_ID}: {message}"
    assert error.blames_host is not permanent
