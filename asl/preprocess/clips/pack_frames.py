"""Move files of frames into packs, see :mod:`asl.contract.frame_packs`: ``frames.pack=true``."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from rich.progress import Progress

from asl.config.setting import setting
from asl.contract.frame_packs import FramePackError, pack_numbers, pack_path, packed_files
from asl.contract.frame_store import FrameSettings, FrameStoreError, read_shape
from asl.files import sync_folder, temp_path
from asl.threads import map_in_threads

_PACK_BYTES = 16 << 30  # packing needs this much free disk space
_LEAST_USED = 0.5  # share of a pack's bytes; with less, it is written again without the unused ones
_CHUNK = 1 << 20


@dataclass(kw_only=True)
class StoredFrameSettings(FrameSettings):
    """Stored frames, and how ``preprocess.py`` keeps them."""

    pack: bool = setting(False, "move the clips' files of frames into a few large ones at the end of the run")


@dataclass(frozen=True)
class _File:
    """A file of frames to be packed."""

    path: Path
    size: int
    modified_ns: int | None = None  # None: a pack has it
    pack: Path | None = None


def pack_frames(folder: Path, progress: Progress, *, pack_bytes: int = _PACK_BYTES) -> int:
    """Move the complete files of frames of a folder into packs. Returns their number.

    A pack is written under a temporary name, read back, synced to the disk and renamed; only then the files
    that it has are deleted. If the run is killed, each clip's frames are in its file, in a pack, or in both.
    Packs of which less than half is in use are written again.

    Args:
        folder: with the files, ``paths.frames_dir`` / ``spec.name``. No other run packs it.
        progress: shows a bar.
        pack_bytes: size of a pack, exceeded by less than a file.

    Raises:
        FrameStoreError: a pack cannot be written. All frames are where they were, or in a finished pack.
        FramePackError: an earlier pack is damaged.
    """
    numbers = pack_numbers(folder)
    in_pack = [
        _File(folder / name, packed.size, pack=packed.pack)
        for name, packed in packed_files(folder).items()
        if not (folder / name).exists()
    ]
    used = Counter[Path | None]()
    for file in in_pack:
        used[file.pack] += file.size
    packs = [pack_path(folder, number) for number in numbers]
    wasteful = {path for path in packs if used[path] < _LEAST_USED * path.stat().st_size}
    own = list(_own_files(folder))
    files = [*own, *(file for file in in_pack if file.pack in wasteful)]
    bar = progress.add_task("packing frames", total=len(files), visible=bool(files))
    for number, group in enumerate(_groups(files, pack_bytes), max(numbers, default=-1) + 1):
        _write_pack(pack_path(folder, number), group)
        for file in group:
            _delete_own(file)
        progress.advance(bar, len(group))
    for path in wasteful - {pack_path(folder, max(pack_numbers(folder), default=-1))}:
        path.unlink()  # but not the last one, whose number would be used again
    _delete_marks(folder)
    return len(own)


def _own_files(folder: Path) -> Iterator[_File]:
    paths = sorted(folder.glob("*.safetensors"))
    for path, shape in zip(paths, map_in_threads(read_shape, paths), strict=True):
        if shape is not None:
            stat = path.stat()
            yield _File(path, stat.st_size, stat.st_mtime_ns)


def _groups(files: Sequence[_File], pack_bytes: int) -> Iterator[list[_File]]:
    group, total = list[_File](), 0
    for file in files:
        group.append(file)
        total += file.size
        if total >= pack_bytes:
            yield group
            group, total = [], 0
    if group:
        yield group


def _write_pack(path: Path, files: Sequence[_File]) -> None:
    part = temp_path(path)
    try:
        path.parent.mkdir(exist_ok=True)
        with part.open("wb") as written:
            with ZipFile(written, "w") as pack, ExitStack() as closing:
                earlier = {old: closing.enter_context(ZipFile(old)) for old in {f.pack for f in files} if old}
                for file in files:
                    name = file.path.name
                    content = earlier[file.pack].open(name) if file.pack else file.path.open("rb")
                    # A date, which does not matter, of the first year that ZIP knows: files may be older.
                    with content, pack.open(ZipInfo(name), "w", force_zip64=True) as target:
                        shutil.copyfileobj(content, target, _CHUNK)
            written.flush()
            os.fsync(written.fileno())
        with ZipFile(part) as pack:
            if (damaged := pack.testzip()) is not None:
                raise OSError(errno.EIO, f"{damaged} is not read back as it was written")
        part.replace(path)
        sync_folder(path.parent)
    except BadZipFile as error:
        raise FramePackError(
            f"{path.parent} has a damaged pack ({error}). Delete that one: its frames are then made again"
        ) from error
    except OSError as error:
        raise FrameStoreError(
            f"{path} cannot be written: {error.strerror or error}. No frames are lost: free some disk space "
            "and run again, or leave a file for each clip (frames.pack=false)"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _delete_own(file: _File) -> None:
    """Delete a file that a pack has, unless training has replaced it meanwhile."""
    if file.modified_ns is not None and file.path.stat().st_mtime_ns == file.modified_ns:
        file.path.unlink()


def _delete_marks(folder: Path) -> None:
    """Delete the empty files of clips that no pack has any more."""
    packed = packed_files(folder)
    for path in folder.glob("*.safetensors"):
        if path.name not in packed and not path.stat().st_size:
            path.unlink()
