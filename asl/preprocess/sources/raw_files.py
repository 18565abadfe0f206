"""The raw folder: its video files, and their durations, picture sizes and codecs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from asl.codecs.probe import probe
from asl.codecs.video_file import VIDEO_SUFFIXES
from asl.errors import UserError
from asl.files import atomic_write_text
from asl.workers import Done, Workers


class RawFolderError(UserError):
    """A raw folder that cannot be used."""


@dataclass(frozen=True)
class RawVideo:
    """Properties of a raw file, from its header and its first frame."""

    duration_s: float  # 0 if unknown
    width: int  # pixels, upright
    height: int
    fps: float = 0.0  # mean rate; 0 if unknown
    codec: str = ""
    pix_fmt: str = ""
    turned: bool = False  # a player turns or mirrors the stored picture
    header_suffices: bool = False  # see asl.codecs.probe.VideoInfo

    @property
    def clip_size(self) -> tuple[int, int]:
        """Width and height of the clips that are cut from it: even."""
        return self.width // 2 * 2, self.height // 2 * 2

    @property
    def can_be_copied_unopened(self) -> bool:
        """Whether it is known without decoding a frame again that the file can be copied."""
        return self.header_suffices and (self.codec, self.pix_fmt, self.turned) == ("h264", "yuv420p", False)


#: Replaces unknown properties where an estimate is enough.
USUAL = RawVideo(duration_s=3.0, width=640, height=480, fps=30.0, codec="h264")

_FIELDS = {field.name for field in dataclasses.fields(RawVideo)}


def scan_raw(raw_dir: Path, videos_dir: Path | None = None) -> list[str]:
    """The video files below the raw folder, as sorted POSIX paths relative to it. Hidden files are skipped.

    Args:
        raw_dir: the raw folder.
        videos_dir: the folder of finished clips. If it lies in the raw folder, its files are skipped.

    Raises:
        RawFolderError: the folder does not exist.
    """
    if not raw_dir.is_dir():
        raise RawFolderError(
            f"{raw_dir}: no such folder (dataset.root, by default paths.raw_dir). Put the raw videos there"
        )
    clips = None if videos_dir is None else videos_dir.resolve()
    return sorted(
        path.relative_to(raw_dir).as_posix()
        for path in raw_dir.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
        and (clips is None or clips not in path.resolve().parents)
    )


def probe_raw(path: Path) -> RawVideo:
    """Open a raw file and read its properties. Call this in a worker: decoders may hang or crash.

    Raises:
        VideoError: the file cannot be opened, or its first frame cannot be decoded.
    """
    info = probe(path)
    width, height = info.upright_size
    return RawVideo(
        round(info.duration_s, 6),
        width,
        height,
        round(info.fps, 6),
        info.codec,
        info.pix_fmt,
        bool(info.orientation_filters),
        info.header_suffices,
    )


class RawVideoCache:
    """Properties of raw files, kept in a JSON file so that a later run opens only new and changed files.

    Args:
        raw_dir: the raw folder.
        path: the JSON file. One that is missing, damaged or of another version counts as empty.
    """

    def __init__(self, raw_dir: Path, path: Path) -> None:
        self.raw_dir, self.path = raw_dir, path
        self._known: dict[str, tuple[list[int], RawVideo]] = {}
        try:
            for file, (stamp, fields) in json.loads(path.read_text(encoding="utf-8")).items():
                if fields.keys() == _FIELDS:
                    self._known[file] = stamp, RawVideo(**fields)
        except (OSError, ValueError, TypeError, AttributeError):
            self._known = {}

    def probe(
        self,
        files: Iterable[str],
        workers: Workers,
        *,
        timeout_s: float | None = None,
        on_done: Callable[[], None] = lambda: None,
    ) -> dict[str, RawVideo]:
        """The properties by file, of the files that can be opened; the others are left out.

        Args:
            files: relative to the raw folder.
            workers: open the files that are not in the cache.
            timeout_s: a file that takes longer counts as one that cannot be opened.
            on_done: called after each file.
        """
        stamps = {file: self._stamp(file) for file in files}
        known = {
            file: self._known[file][1]
            for file, stamp in stamps.items()
            if file in self._known and self._known[file][0] == stamp
        }
        new = {str(self.raw_dir / file): file for file in stamps if file not in known}
        for _ in known:
            on_done()
        for ended in workers.run_each(probe_raw, [Path(path) for path in new], timeout_s=timeout_s):
            if isinstance(ended, Done):
                known[new[str(ended.task)]] = ended.result
            on_done()
        if new:
            self._known |= {file: (stamps[file], raw) for file, raw in known.items()}
            content = {
                file: [stamp, dataclasses.asdict(raw)] for file, (stamp, raw) in sorted(self._known.items())
            }
            atomic_write_text(self.path, json.dumps(content))
        return known

    def _stamp(self, file: str) -> list[int]:
        """Size in bytes and time of the last change; a file with another stamp is opened again."""
        stat = (self.raw_dir / file).stat()
        return [stat.st_size, stat.st_mtime_ns]
