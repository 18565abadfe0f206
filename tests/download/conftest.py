"""A server of files on the loopback, and runs against it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from raw_videos import write_raw

from asl.contract.paths import Paths
from asl.datasets.wlasl import Wlasl
from asl.download.config import DownloadConfig
from asl.download.run import download
from asl.download.settings import DownloadSettings
from benchmarks.file_server import FileServer, serve


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a short MP4 file, of several chunks of the server."""
    path = write_raw(tmp_path_factory.mktemp("video") / "a.mp4", duration_s=2.0)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as server:
        yield server


@dataclass
class Data:
    """A data folder with metadata."""

    paths: Paths
    out: str = ""  # what the last run printed

    def write(self, urls: dict[str, str], splits: Sequence[str] = ("train",)) -> None:
        """Write the metadata: a row of "book" for each video_id, with its URL, the splits in turn."""
        row = {"gloss": "book", "frame_start": 1, "frame_end": -1, "fps": 25}
        rows = [
            {**row, "video_id": video_id, "url": url, "split": split}
            for (video_id, url), split in zip(urls.items(), cycle(splits), strict=False)
        ]
        path = Path(self.paths.metadata_dir) / "words.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))

    def config(self, *, dry_run: bool = False, **settings: Any) -> DownloadConfig:
        quick = {"interval_s": 0.0, "allow_private": True, "stall_timeout_s": 20.0}
        return DownloadConfig(
            paths=self.paths,
            dataset=Wlasl(
                name="words",
                metadata=f"{self.paths.metadata_dir}/words.json",
                lengths=None,
                root=self.paths.raw_dir,
            ),
            download=DownloadSettings(**quick | settings),
            dry_run=dry_run,
        )

    @property
    def raw(self) -> Path:
        return Path(self.paths.raw_dir)

    def files(self) -> list[str]:
        """The names of all files in the raw folder, temporary ones included."""
        return sorted(path.name for path in self.raw.iterdir() if path.name != ".lock")

    def errors(self) -> dict[str, tuple[str, str]]:
        """Reason and kind of each row of the errors, by video_id."""
        with self.paths.download_errors("words").open() as file:
            return {row["video_id"]: (row["reason"], row["kind"]) for row in csv.DictReader(file)}


Run = Callable[..., Data]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(Paths.below(tmp_path / "data"))


@pytest.fixture
def run(data: Data, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write metadata with these URLs by video_id (None: as it is), download it, and keep what was printed."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("asl.download.fetch.PAUSE_S", 0.0)

    def run(urls: dict[str, str] | None = None, **settings: Any) -> Data:
        if urls is not None:
            data.write(urls)
        capsys.readouterr()
        try:
            download(data.config(**settings))
        finally:
            data.out = capsys.readouterr().out
        return data

    return run
