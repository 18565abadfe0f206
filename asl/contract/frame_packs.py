"""Packs: many files of frames in a few large files, for file systems on which many small files are slow.

A pack is a ZIP file without compression, whose directory is the index::

    data/frames/25fps_128px/packs/000.zip

A clip's frames are those of its own file if there is one, also an empty one, which stands for no frames;
otherwise those in the pack with the highest number. Packs are never changed, only added and removed whole.
"""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from asl.errors import UserError

PACKS = "packs"  # name of the folder
_SUFFIX = ".zip"
_LOCAL_HEADER_BYTES = 30  # then name and extra field, whose lengths are the last two of its numbers


class FramePackError(UserError):
    """A pack that cannot be read."""


@dataclass(frozen=True)
class Packed:
    """A file of frames in a pack."""

    pack: Path
    header: int  # byte at which the entry begins
    size: int  # bytes of the file of frames

    def open(self) -> tuple[IO[bytes], int]:
        """The open pack, and the byte at which the file of frames begins in it."""
        file = self.pack.open("rb")
        file.seek(self.header)
        lengths = file.read(_LOCAL_HEADER_BYTES)[-4:]
        extra = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        return file, self.header + _LOCAL_HEADER_BYTES + extra


def open_packed(path: Path) -> tuple[IO[bytes], int, int]:
    """The open pack that has a file of frames, the byte at which it begins in it, and its size in bytes.

    Raises:
        FileNotFoundError: no pack has the file.
        FramePackError: a pack is damaged.
    """
    while True:
        names = _pack_names(path.parent)
        try:
            packed = _read_packs(path.parent, names)[path.name]
            return *packed.open(), packed.size
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        except FileNotFoundError:  # the pack was written again under another name
            if _pack_names(path.parent) == names:
                raise


def pack_path(folder: Path, number: int) -> Path:
    """Pack ``number`` in a folder of files of frames."""
    return folder / PACKS / f"{number:03d}{_SUFFIX}"


def pack_numbers(folder: Path) -> list[int]:
    """The numbers of the packs in a folder of files of frames, rising."""
    return sorted(int(name.removesuffix(_SUFFIX)) for name in _pack_names(folder))


def packed_files(folder: Path) -> Mapping[str, Packed]:
    """The files of frames in the packs of a folder, by name.

    Raises:
        FramePackError: a pack is damaged.
    """
    names = _pack_names(folder)
    return _read_packs(folder, names) if names else {}


def _pack_names(folder: Path) -> tuple[str, ...]:
    """The file names of the packs. Other names mean other packs: a number is used once."""
    try:
        with os.scandir(folder / PACKS) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return ()
    return tuple(name for name in names if name.endswith(_SUFFIX) and name[: -len(_SUFFIX)].isdecimal())


@lru_cache(maxsize=8)
def _read_packs(folder: Path, names: tuple[str, ...]) -> Mapping[str, Packed]:
    packed: dict[str, Packed] = {}
    for path in sorted((folder / PACKS / name for name in names), key=lambda path: int(path.stem)):
        packed |= _read_pack(path)
    return packed


def _read_pack(path: Path) -> dict[str, Packed]:
    """The files of frames in one pack, by name.

    Raises:
        FramePackError: the pack is damaged.
    """
    try:
        with zipfile.ZipFile(path) as pack:
            return {one.filename: Packed(path, one.header_offset, one.file_size) for one in pack.infolist()}
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise FramePackError(
            f"{path} is damaged ({error}). Delete it: the frames of its clips are then made again"
        ) from error
