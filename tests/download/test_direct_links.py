"""Files of direct links, from a server on the loopback."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from asl.download.run import NothingToUseError
from asl.errors import UserError
from benchmarks.file_server import Page, serve

PAGE = b"<!DOCTYPE html><html>not found</html>"


def _never_ends(path: Path) -> None:
    time.sleep(60)


def test_a_file_is_named_by_its_video_id_and_fetched_once(run, server, video):
    server.pages["/signs/book.mp4"] = Page(video)
    data = run({"70001": f"{server.url}/signs/book.mp4"})
    assert data.files() == ["70001.mp4"]
    assert (data.raw / "70001.mp4").read_bytes() == video
    assert "train" in data.out
    run()
    assert len(server.requests) == 1
    assert "nothing is left to fetch" in data.out


def test_two_hundred_files_of_which_some_fail(run, server, video):
    urls, bad = {}, {}
    for index in range(200):
        video_id, path = f"{index:05}", f"/{index}.mp4"
        urls[video_id] = server.url + path
        match index % 20:
            case 1:
                server.pages[path] = Page(status=302, headers={"Location": f"/moved{path}"})
                server.pages[f"/moved{path}"] = Page(video)
            case 2:
                bad[video_id] = ("gone", "permanent")
            case 3:
                server.pages[path] = Page(status=403)
                bad[video_id] = ("refused", "permanent")
            case 4:
                busy = Page(status=429, headers={"Retry-After": "0"})
                server.pages[path] = Page(video, first=[busy])
            case 5:
                server.pages[path] = Page(video, first=[Page(video, cut_after=9000)])
            case 6:
                server.pages[path] = Page(PAGE, headers={"Content-Type": "video/mp4"})
                bad[video_id] = ("web page", "permanent")
            case 7:
                server.pages[path] = Page(video, claims=len(video) + 100)
                bad[video_id] = ("broken transfer", "transient")
            case 8:
                server.pages[path] = Page(b"")
                bad[video_id] = ("empty file", "transient")
            case 9:
                server.pages[path] = Page(b"\0" * 5000)
                bad[video_id] = ("no video", "permanent")
            case _:
                server.pages[path] = Page(video)
    data = run(urls, per_host=8)
    assert data.errors() == bad
    good = urls.keys() - bad.keys()
    names = [name for name in data.files() if not name.startswith(".")]
    assert sorted(f"{video_id}.mp4" for video_id in good) == names
    assert {(data.raw / name).read_bytes() == video for name in names} == {True}
    for index in range(5, 200, 20):  # cut once, and continued
        first, second = server.requests_for(f"/{index}.mp4")
        assert first.start == 0 < second.start <= 9000

    asked = len(server.requests)
    run()
    lost = {server.requests[i].path for i in range(asked, len(server.requests))}
    again = {video_id for video_id, (_, kind) in bad.items() if kind == "transient"}
    assert lost == {f"/{int(video_id)}.mp4" for video_id in again}
    assert " files are lost: they failed for good before" in data.out
    server.pages["/2.mp4"] = Page(video)
    run(retry_permanent=True)
    assert "00002" not in data.errors()
    assert (data.raw / "00002.mp4").read_bytes() == video


def test_a_url_of_several_instances_is_fetched_once_and_linked(run, server, video):
    server.pages["/a.mp4"] = Page(video)
    url = f"{server.url}/a.mp4"
    data = run({"1": url, "2": url})
    assert data.files() == ["1.mp4", "2.mp4"]
    (data.raw / "2.mp4").unlink()  # as if killed in between
    run({"1": url, "2": url, "3": url})
    assert data.files() == ["1.mp4", "2.mp4", "3.mp4"]
    assert len(server.requests) == 1


def test_a_complete_file_that_could_not_be_opened_in_time_is_kept(run, server, video, data, monkeypatch):
    server.pages["/a.mp4"] = Page(video)
    with monkeypatch.context() as patch:
        patch.setattr("asl.download.fetch.PROBE_TIMEOUT_S", 1e-3)
        patch.setattr("asl.download.fetch.probe_raw", _never_ends)
        with pytest.raises(NothingToUseError):
            run({"1": f"{server.url}/a.mp4"})
    assert data.errors() == {"1": ("not opened", "transient")}
    assert run().files() == ["1.mp4"]
    assert len(server.requests) == 1


def test_the_time_of_the_last_change_does_instead_of_an_etag(run, server, video):
    form = {"etag": 'W/"1"', "headers": {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}}
    server.pages["/a.mp4"] = Page(video, first=[Page(video, cut_after=9000, **form)], **form | {"etag": None})
    data = run({"1": f"{server.url}/a.mp4"})
    assert (data.raw / "1.mp4").read_bytes() == video
    assert [request.start for request in server.requests] == [0, 9000]


def test_a_change_on_the_server_is_not_appended_to_the_old_part(run, server, video):
    cut = Page(video[::-1], cut_after=9000, etag='"old"')
    server.pages["/a.mp4"] = Page(video, first=[cut], etag='"new"')
    data = run({"1": f"{server.url}/a.mp4"})
    assert (data.raw / "1.mp4").read_bytes() == video


@pytest.mark.parametrize(
    "answer", [(416, None), (206, None), (206, "bytes 0-99/100"), (206, "bytes 9000-9999/99999")], ids=str
)
def test_a_part_that_a_server_does_not_continue_is_dropped(run, server, video, answer):
    status, content_range = answer
    headers = {} if content_range is None else {"Content-Range": content_range}
    refusal = Page(b"x" * 100, status, headers)
    server.pages["/a.mp4"] = Page(video, first=[Page(video, cut_after=9000), refusal])
    data = run({"1": f"{server.url}/a.mp4"})
    assert (data.raw / "1.mp4").read_bytes() == video
    assert [request.headers.get("Range") for request in server.requests] == [None, "bytes=9000-", None]


@pytest.mark.parametrize("page", [{"etag": None}, {"takes_ranges": False}, {"etag": 'W/"1"'}], ids=str)
def test_without_safe_ranges_a_cut_file_is_fetched_anew(run, server, video, page):
    server.pages["/a.mp4"] = Page(video, first=[Page(video, cut_after=9000, **page)], **page)
    data = run({"1": f"{server.url}/a.mp4"})
    assert (data.raw / "1.mp4").read_bytes() == video
    assert [request.start for request in server.requests] == [0, 0]


def test_a_file_that_is_cut_again_and_again_is_complete_in_the_end(run, server, video):
    count = len(video) // 5000
    server.pages["/a.mp4"] = Page(video, first=[Page(video, cut_after=5000) for _ in range(count)])
    data = run({"1": f"{server.url}/a.mp4"}, tries=2)  # each attempt brings new bytes
    assert (data.raw / "1.mp4").read_bytes() == video
    assert len(server.requests) == count + 1


def test_a_stalled_or_endless_transfer_is_given_up_and_continued_by_a_later_run(run, server, video):
    stalls = Page(video, chunk=9000, pause_s=1.0)
    trickles = Page(video, chunk=1, pause_s=0.02)
    server.pages |= {"/a.mp4": stalls, "/b.mp4": trickles}
    urls = {"1": f"{server.url}/a.mp4", "2": f"{server.url}/b.mp4"}
    with pytest.raises(NothingToUseError):
        run(urls, stall_timeout_s=0.2, file_timeout_s=0.6, tries=1, per_host=2)
    server.pages |= {"/a.mp4": Page(video), "/b.mp4": Page(video)}
    data = run()
    assert data.files() == ["1.mp4", "2.mp4"]
    assert all((data.raw / name).read_bytes() == video for name in data.files())
    assert all(server.requests_for(path)[-1].start > 0 for path in ("/a.mp4", "/b.mp4"))


def test_a_file_that_is_too_large_is_not_fetched_by_its_header_or_its_body(run, server, video, data):
    chunked = Page(b"%x\r\n%s\r\n0\r\n\r\n" % (len(video), video), headers={"Transfer-Encoding": "chunked"})
    server.pages |= {"/a.mp4": Page(video), "/b.mp4": chunked}
    urls = {"1": f"{server.url}/a.mp4", "2": f"{server.url}/b.mp4"}
    with pytest.raises(NothingToUseError):
        run(urls, max_mb=len(video) / 2e6)
    assert data.errors() == dict.fromkeys("12", ("too large", "permanent"))
    assert data.files() == []
    run(retry_permanent=True)
    assert data.files() == ["1.mp4", "2.mp4"]


def test_redirects_are_counted_and_lead_to_http_only(run, server, data):
    server.pages |= {
        "/a": Page(status=302, headers={"Location": "/a"}),
        "/b": Page(status=302, headers={"Location": "file:///etc/passwd"}),
        "/c": Page(status=302),
    }
    urls = {name: f"{server.url}/{name}" for name in "abc"} | {"d": "ftp://host/d.mp4", "e": "http://a..b/"}
    with pytest.raises(NothingToUseError):
        run(urls, max_redirects=3)
    assert len(server.requests_for("/a")) == 4
    reasons = {video_id: reason for video_id, (reason, _) in data.errors().items()}
    assert reasons == {
        **dict.fromkeys("ac", "too many redirects"),
        **dict.fromkeys("bde", "not http"),
    }


def test_private_addresses_are_refused_whatever_their_name(run, server, data):
    urls = {"1": f"{server.url}/a.mp4", "2": f"http://localhost:{server.port}/a.mp4"}
    with pytest.raises(NothingToUseError):
        run(urls, allow_private=False)
    assert data.errors() == dict.fromkeys("12", ("private address", "permanent"))
    assert server.requests == []


def test_a_redirect_to_a_private_address_is_refused(run, server, data, monkeypatch):
    monkeypatch.setattr("asl.download.addresses.is_public", lambda address: address == "127.0.0.1")
    with serve("127.0.0.2") as private:
        server.pages["/a.mp4"] = Page(status=307, headers={"Location": f"{private.url}/secret.mp4"})
        with pytest.raises(NothingToUseError):
            run({"1": f"{server.url}/a.mp4"}, allow_private=False)
        assert private.requests == []
    assert data.errors() == {"1": ("private address", "permanent")}


def test_a_proxy_of_the_environment_is_used(run, server, video, data, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.pages["http://signs.example/a.mp4"] = Page(video)
    run({"1": "http://signs.example/a.mp4", "2": "http://10.0.0.1/b.mp4"}, allow_private=False)
    assert data.files() == ["1.mp4"]
    assert [request.path for request in server.requests] == ["http://signs.example/a.mp4"]
    assert data.errors() == {"2": ("private address", "permanent")}


def test_hosts_are_served_side_by_side_and_each_one_file_at_a_time(run, video):
    meeting = threading.Barrier(2, timeout=30)  # passes if both hosts are asked at the same time
    alone = []

    def note(server):
        alone.append(all(request.sent == len(video) for request in server.requests[:-1]))

    with serve("127.0.0.1") as one, serve("127.0.0.2") as two:
        urls = {}
        for server in (one, two):
            for index in range(5):
                server.pages[f"/{index}.mp4"] = Page(video, before=lambda server=server: note(server))
                urls[f"{server.url[7:].replace(':', '-')}-{index}"] = f"{server.url}/{index}.mp4"
            server.pages["/0.mp4"].before = meeting.wait
        data = run(urls)
    assert len(data.files()) == 10
    assert alone == [True] * 8


def test_a_host_is_left_alone_for_as_long_as_it_asks(run, server, video):
    date = format_datetime(datetime.now(timezone.utc), usegmt=True)
    server.pages |= {
        "/a.mp4": Page(video, first=[Page(status=503, headers={"Retry-After": date})]),
        "/b.mp4": Page(video),
        "/c.mp4": Page(status=429, headers={"Retry-After": "3600"}),
        "/d.mp4": Page(video),
    }
    data = run({name: f"{server.url}/{name}.mp4" for name in "abcd"}, max_wait_s=5)
    assert [request.path[1] for request in server.requests] == ["a", "a", "b", "c"]
    assert data.errors() == {"c": ("too many requests", "transient"), "d": ("host left alone", "transient")}


def test_a_dead_host_is_left_after_a_few_files(run, server, data):
    server.close()
    with pytest.raises(NothingToUseError, match="not one of 10 instances has a file"):
        run({str(index): f"{server.url}/{index}.mp4" for index in range(10)}, tries=1, give_up_after=3)
    reasons = [reason for reason, _ in data.errors().values()]
    assert reasons == ["no connection"] * 3 + ["host left alone"] * 7


def test_an_http_server_is_not_trusted_as_https(run, server, data):
    with pytest.raises(NothingToUseError):
        run({"1": f"https://127.0.0.1:{server.port}/a.mp4"}, tries=1)
    assert data.errors() == {"1": ("TLS", "transient")}


def test_what_hosts_are_told(run, server, video, monkeypatch):
    monkeypatch.setattr("asl.download.http.REFERERS", {"127.0.0.1": "http://page/"})
    server.pages["/a.mp4"] = Page(video)
    run({"1": f"{server.url}/a.mp4"}, user_agent="Mozilla/5.0 (of mine)")
    sent = server.requests[0].headers
    assert (sent["User-Agent"], sent["Referer"]) == ("Mozilla/5.0 (of mine)", "http://page/")
    assert sent["Accept-Encoding"] == "identity"


def test_a_folder_that_cannot_be_made_is_one_message(run, server, data):
    data.raw.parent.mkdir()
    data.raw.touch()
    with pytest.raises(UserError, match=r"raw \(dataset.root\) cannot be written: File exists"):
        run({"1": f"{server.url}/a.mp4"})


def test_a_file_that_cannot_be_written_ends_the_run_with_one_message(run, server, video, data):
    server.pages["/a.mp4"] = Page(video)
    (data.raw / "1.mp4").mkdir(parents=True)
    (data.raw / "1.mp4" / "x").touch()
    with pytest.raises(UserError, match=r"raw \(dataset.root\) cannot be written: Is a directory"):
        run({"1": f"{server.url}/a.mp4"})
