"""``python download.py`` as a user runs it, in a process of its own."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path

import programs
import pytest
from composing import CONF

from asl.config.help import print_help
from asl.download.settings import DownloadSettings
from asl.errors import UserError
from asl.files import PART
from asl.machine import lock_file
from benchmarks.downloads import check_round, found
from benchmarks.file_server import Page

RUN = (
    *("dataset=wlasl100", "dataset.num_glosses=null", "dataset.metadata=data/metadata/words.json"),
    *("download.allow_private=true", "download.interval_s=0"),
)


def start(*overrides, data):
    return programs.Program(
        "download.py", *overrides, cwd=Path(data.paths.data_dir).parent, start_new_session=True
    )


def test_killed_at_any_moment_each_file_is_fetched_once_and_whole(run, data, server, video):
    videos = {str(index): video for index in range(12)}
    for name in videos:
        server.pages[f"/{name}.mp4"] = Page(video)
    data.write({name: f"{server.url}/{name}.mp4" for name in videos})
    for cut in ("2", "7"):
        server.pages[f"/{cut}.mp4"] = Page(video, first=[Page(video, chunk=1000, pause_s=0.5)])
        before = found(data.raw), len(server.requests)
        process = start(*RUN, data=data)
        while not 0 < found(data.raw).get(cut, 0) < len(video):
            assert process.poll() is None
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert check_round(data.raw, server, videos, *before) == []
    before = found(data.raw), len(server.requests)
    run()
    assert check_round(data.raw, server, videos, *before) == []
    assert data.files() == sorted(f"{index}.mp4" for index in range(12))
    assert {(data.raw / name).read_bytes() for name in data.files()} == {video}
    assert sum(request.start > 0 for request in server.requests) == 2  # of the files that the kills cut


def test_a_file_that_gets_its_final_name_while_the_folder_is_read_is_left_out(tmp_path):
    (tmp_path / "1.mp4").write_bytes(b"four")
    (tmp_path / f".2{PART}.mp4").symlink_to("renamed")  # listed, but gone when it is looked at
    assert found(tmp_path) == {"1": 4}


def test_stopped_by_hand_it_says_so_in_one_line_and_goes_on_next_time(run, data, server, video):
    stopped = threading.Event()
    server.pages |= {"/a.mp4": Page(video), "/b.mp4": Page(video, before=stopped.wait)}
    data.write({name: f"{server.url}/{name}.mp4" for name in "ab"})
    process = start(*RUN, data=data)
    while not server.requests_for("/b.mp4"):
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    said = process.communicate()[1]
    assert said == "stopped; what is fetched is kept, and the same command goes on from there\n"
    assert process.returncode == 130
    stopped.set()
    assert data.files() == ["a.mp4"]
    run()
    assert data.files() == ["a.mp4", "b.mp4"]


def test_a_second_run_at_the_same_time_is_refused(run, data, server):
    data.raw.mkdir(parents=True)
    with (
        lock_file(data.raw / ".lock"),
        pytest.raises(UserError, match="another run downloads to"),
    ):
        run({"1": f"{server.url}/a.mp4"})


def test_a_dry_run_says_what_would_be_fetched_and_fetches_nothing(run, data, server, video):
    server.pages["/a.mp4"] = Page(video)
    run({"1": f"{server.url}/a.mp4"})
    data.write({"1": f"{server.url}/a.mp4", "2": f"{server.url}/b.mp4", "3": "b.mp4"})
    run(dry_run=True)
    rows = [line.replace("│", " ").split() for line in data.out.splitlines()]
    assert ["127.0.0.1:" + str(server.port), "2", "1", "1", "0"] in rows
    assert ["all", "2", "1", "1", "0"] in rows
    assert "1 instances have neither a file nor a URL" in data.out
    assert len(server.requests) == 1
    assert data.files() == ["1.mp4"]


def test_what_preprocessing_can_use_is_said_by_split_and_gloss(run, data, server, video):
    server.pages["/a.mp4"] = Page(video)
    data.write({"1": f"{server.url}/a.mp4", "2": f"{server.url}/b.mp4"}, splits=("train", "val"))
    run()
    rows = [line.replace("│", " ").split() for line in data.out.splitlines()]
    assert ["train", "1", "1", "1", "1"] in rows
    assert ["val", "1", "0", "1", "0"] in rows
    assert ["all", "2", "1", "1", "1"] in rows
    assert ["gone", "permanent", "1"] in rows
    assert "fewest training files: book 1" in data.out
    row = data.paths.download_errors("words").read_text().splitlines()[1]
    assert row.startswith(f"2,{server.url}/b.mp4,gone,HTTP status 404 Not Found,permanent,20")
    assert "find a copy elsewhere and put it into dataset.root" in row


def test_a_missing_package_is_said_before_anything_is_fetched(run, data, monkeypatch, server):
    monkeypatch.setitem(sys.modules, "asl.download.fetch", None)
    with pytest.raises(UserError, match=r"make install, or pip install 'asl\[download\]'"):
        run({"1": f"{server.url}/a.mp4"})


def test_help_shows_every_key_of_downloads(capsys):
    print_help("download", CONF, ["dataset=wlasl300"])
    printed = capsys.readouterr().out
    assert "dataset.num_glosses=300" in printed
    for field in dataclasses.fields(DownloadSettings):
        assert f"download.{field.name}=" in printed
        assert field.metadata["help"].split(",")[0] in " ".join(printed.split())
    assert "dry_run=false" in printed
