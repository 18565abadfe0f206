"""The page of ``python predict.py app=true``, served by a process that may talk to this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clips import write_clip
from composing import composed
from in_browser import opened_page

from asl.config.setting import ConfigError
from asl.errors import UserError
from asl.inference.app.recognition import Recognition
from asl.inference.app.serve import serve
from asl.inference.app.settings import ServerSettings
from asl.inference.predictor import Predictor, load

ROOT = Path(__file__).resolve().parents[2]

#: Run first by the server's Python: notes every connection to another machine, and refuses it.
ONLY_THIS_MACHINE = """
import os, socket

def connect(self, address, connect=socket.socket.connect):
    over_ip = self.family in (socket.AF_INET, socket.AF_INET6)
    if over_ip and address[0] not in ("127.0.0.1", "::1", "localhost"):
        with open(os.environ["CONNECTIONS"], "a") as file:
            print(address, file=file)
        raise ConnectionRefusedError(address)
    return connect(self, address)

socket.socket.connect = connect
"""


@dataclass
class Served:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    folder: Path  # of its temporary files
    connections: Path  # to other machines; missing if there were none

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("asl-app-*/**/*") if path.is_file()]


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return load(checkpoint, accelerator="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "sign.mp4"
    write_clip(path, grey=range(40, 200, 8))
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.mp4"
    path.write_text("no video")
    return path


@pytest.fixture(scope="module")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("server")
    (folder / "sitecustomize.py").write_text(ONLY_THIS_MACHINE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = [
        f"checkpoint={checkpoint}",
        "app=true",
        "accelerator=cpu",
        f"server.port={port}",
        "server.keep_s=10",
    ]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "predict.py"), *keys, "server.max_mb=1"],
        cwd=folder,
        env={
            **os.environ,
            **{"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "TMPDIR": str(folder)},
            **{"CONNECTIONS": str(folder / "connections"), "OMP_NUM_THREADS": "1"},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().split(" ")[0]
    if not url:
        pytest.fail(process.communicate()[1])
    yield Served(url, process, folder, folder / "connections")
    process.kill()
    process.communicate()


def client(served: Served) -> Any:
    return pytest.importorskip("gradio_client").Client(served.url, verbose=False, analytics_enabled=False)


def test_twenty_requests_at_once_are_answered_and_a_bad_file_costs_only_itself(
    served: Served, predictor: Predictor, video: Path, text: Path
) -> None:
    from gradio_client import handle_file

    expected = dict(predictor.predict(video).top)
    files = [text if number == 7 else video for number in range(20)]
    user = client(served)
    jobs = [user.submit(handle_file(file), api_name="/recognise") for file in files]
    answers = [job.result(timeout=120) for job in jobs]
    for number, (glosses, below) in enumerate(answers):
        if number == 7:
            assert "This video cannot be used.</b><br>text.mp4 cannot be read" in below
        else:
            found = {one["label"]: one["confidence"] for one in glosses["confidences"]}
            assert found == pytest.approx(expected)
            assert below.count("<img") == 4  # clip_len of the tiny checkpoint


def test_the_page_in_a_browser_shows_glosses_frames_and_what_decided(
    served: Served, browser: Any, predictor: Predictor, video: Path, text: Path
) -> None:
    for width, colours in ((1280, "light"), (390, "dark")):
        with opened_page(browser, served.url, width=width, colours=colours) as opened:
            page = opened.page
            page.set_default_timeout(30_000)
            page.locator("input[type=file]").set_input_files(text)
            page.locator(".problem").wait_for()
            assert "text.mp4 cannot be read" in page.locator(".problem").inner_text()
            page.get_by_label("Clear").last.click()  # the player adds one that covers the other
            page.locator(".problem").wait_for(state="detached")
            page.locator("input[type=file]").set_input_files(video)
            page.locator(".seen figcaption").first.wait_for()
            page.wait_for_function("!document.querySelector('.seen').innerText.includes('…')")
            assert predictor.predict(video).gloss in page.inner_text("body")
            assert page.locator(".seen img").count() == 4
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, dark[4:-1].split(","))) < 150) == (colours == "dark")
        elsewhere = [url for url in opened.requests if not url.startswith((served.url, "data:", "blob:"))]
        assert elsewhere == []
        assert [text for text in opened.messages if "Method not implemented" not in text] == []


def test_a_file_that_is_too_large_is_refused(served: Served, tmp_path: Path) -> None:
    from gradio_client import handle_file

    (tmp_path / "large.mp4").write_bytes(bytes(1_100_000))
    with pytest.raises(ValueError, match="exceeds the maximum file size"):
        client(served).predict(handle_file(tmp_path / "large.mp4"), api_name="/recognise")


def test_files_are_removed_while_it_runs_and_nothing_is_left_when_it_ends(
    served: Served, video: Path
) -> None:
    from gradio_client import handle_file

    client(served).predict(handle_file(video), api_name="/recognise")
    deadline = time.monotonic() + 120
    while served.files() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert served.files() == []
    client(served).predict(handle_file(video), api_name="/recognise")
    assert len(served.files()) == 1
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=60)
    assert served.process.returncode == 128 + signal.SIGTERM
    assert list(served.folder.glob("asl-app-*")) == []
    assert not served.connections.exists()


# ---------------------------------------------------------------- without a server


def test_a_video_that_is_too_long_or_too_large_is_one_message(predictor: Predictor, video: Path) -> None:
    with Recognition(predictor, ServerSettings(max_s=0.5)) as recognition:
        with pytest.raises(UserError, match=r"^sign\.mp4 lasts 0\.8 s, and 0\.5 s are allowed$"):
            recognition.recognise(video)
        with video.open("r+b") as file:
            size = video.stat().st_size
            file.truncate(50_000_001)
        try:
            with pytest.raises(UserError, match=r"^sign\.mp4 is larger than 50 MB$"):
                recognition.recognise(video)
        finally:
            os.truncate(video, size)


def test_the_frames_that_are_shown_are_those_that_the_network_gets(predictor: Predictor, video: Path) -> None:
    with Recognition(predictor, ServerSettings()) as recognition:
        found = recognition.recognise(video)
    assert (found.frames == predictor.frames(video)).all()
    assert found.top == predictor.predict(video).top
    crop_size = predictor.recogniser.info["crop_size"]
    assert recognition.cropped(found).shape == (4, crop_size, crop_size, 3)


def test_without_gradio_one_message_names_the_command(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asl.inference.app.serve.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"app=true needs Gradio, .*: pip install 'gradio>=6.31,<7'"):
        serve(str(checkpoint), ServerSettings(), accelerator="cpu")


def test_a_port_in_use_is_one_message(checkpoint: Path) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"server\.port={port}: the page cannot be served there"):
            serve(str(checkpoint), ServerSettings(port=port), accelerator="cpu")


def test_videos_come_from_the_page_or_from_the_command() -> None:
    assert composed("predict", "app=true").server.host == "127.0.0.1"
    with pytest.raises(ConfigError, match=r"input=a\.mp4: app=true gets its videos from the page"):
        composed("predict", "app=true", "input=a.mp4")
    with pytest.raises(ConfigError, match=r"server\.queue=0: must be at least 1"):
        composed("predict", "app=true", "server.queue=0")
