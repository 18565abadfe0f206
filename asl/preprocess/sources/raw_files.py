"""The raw folder: its video files, and their durations, picture sizes and codecs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asl.codecs.probe import probe
from asl.codecs.video_file import VIDEO_SUFFIXES
from asl.errors import UserError
from asl.files import atomic_write_text, walk_files
from asl.threads import map_in_threads
from asl.workers import Done, Workers


class RawFolderError(UserError):
    """A raw folder that cannot be used."""


@dataclass(frozen=True, slots=True)
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

_Stamp = list[int]
_Known = dict[str, tuple[_Stamp, RawVideo]]  # by file

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
        path
        for path, entry in walk_files(raw_dir, without=clips)
        if PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES
        and not entry.name.startswith(".")
        and not (clips and entry.is_symlink() and clips in Path(entry.path).resolve().parents)
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
        others: returns the files of other runs, which are read only. They may change meanwhile.
    """

    def __init__(self, raw_dir: Path, path: Path, others: Callable[[], Iterable[Path]] = tuple) -> None:
        self.raw_dir, self.path = raw_dir, path
        self._own, self._others = _read_cache(path), others
        self._of_others: dict[Path, tuple[int, _Known]] = {}  # by file, the time of its last change

    def probe(
        self,
        files: Sequence[str],
        workers: Workers,
        *,
        shard: tuple[int, int] = (0, 1),
        timeout_s: float | None = None,
        on_done: Callable[[], None] = lambda: None,
    ) -> dict[str, RawVideo]:
        """The properties by file, of the files that can be opened; the others are left out.

        Args:
            files: relative to the raw folder.
            workers: open the files that are not in the cache.
            shard: index and number of runs that share the work. Each opens its part first and then those
                whose run has not written what it found.
            timeout_s: a file that takes longer counts as one that cannot be opened.
            on_done: called after each file.
        """
        index, count = shard
        known: dict[str, RawVideo] = {}
        for part in range(index, index + count):
            known |= self._probe(files[part % count :: count], workers, timeout_s, on_done)
        return {file: known[file] for file in files if file in known}

    def _probe(
        self, files: Sequence[str], workers: Workers, timeout_s: float | None, on_done: Callable[[], None]
    ) -> dict[str, RawVideo]:
        caches = [self._own, *self._read_others()]
        known: dict[str, RawVideo] = {}
        new: dict[Path, tuple[str, _Stamp]] = {}
        for file, stamp in zip(files, map_in_threads(self._stamp, files), strict=True):
            found = [cache[file][1] for cache in caches if file in cache and cache[file][0] == stamp]
            if found:
                known[file] = found[0]
                on_done()
            else:
                new[self.raw_dir / file] = file, stamp
        for ended in workers.run_each(probe_raw, list(new), timeout_s=timeout_s):
            if isinstance(ended, Done):
                file, stamp = new[ended.task]
                known[file] = ended.result
                self._own[file] = stamp, ended.result
            on_done()
        if new:
            _write_cache(self.path, self._own)
        return known

    def _read_others(self) -> list[_Known]:
        for path in set(self._others()) - {self.path}:
            try:
                changed_ns = path.stat().st_mtime_ns
            except OSError:  # its run has not written it yet
                continue
            if path not in self._of_others or self._of_others[path][0] != changed_ns:
                self._of_others[path] = changed_ns, _read_cache(path)
        return [cache for _, cache in self._of_others.values()]

    def _stamp(self, file: str) -> _Stamp:
        """Size in bytes and time of the last change; a file with another stamp is opened again."""
        stat = (self.raw_dir / file).stat()
        return [stat.st_size, stat.st_mtime_ns]


def join_caches(path: Path, parts: Sequence[Path]) -> None:
    """Add the content of files of :class:`RawVideoCache` to the one at ``path``, and remove them."""
    if not parts:
        return
    joined = _read_cache(path)
    for part in parts:
        joined |= _read_cache(part)
    _write_cache(path, joined)
    for part in parts:
        part.unlink()


def _read_cache(path: Path) -> _Known:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            file: (stamp, RawVideo(**fields))
            for file, (stamp, fields) in content.items()
            if fields.keys() == _FIELDS
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_cache(path: Path, known: _Known) -> None:
    content = {file: [stamp, dataclasses.asdict(raw)] for file, (stamp, raw) in sorted(known.items())}
    atomic_write_text(path, json.dumps(content))
