"""Anyone's own recordings: a folder for each class, ``{class}/*.mp4`` or ``{split}/{class}/*.mp4``."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asl.contract.manifest import SPLITS
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata, MetadataError, Refused
from asl.datasets.names import make_video_id, text_problem
from asl.datasets.reading import make_instances
from asl.messages import first_few

_FORM = "It must be a folder of class folders with videos: {class}/*.mp4 or {split}/{class}/*.mp4"


@dataclass(kw_only=True)
class Folder(SignDataset):
    """A folder of class folders, in split folders or not. Glosses are the folders' names, sorted."""

    def load(self) -> Metadata:
        """Find the videos. What is neither a class folder nor a video of one is refused, each with a line.

        Raises:
            MetadataError: there are fewer than two classes, class folders lie beside split folders, or the
                names of two classes differ by case alone.
        """
        root = Path(self.root)
        listing = _list(root)
        if listing.error:
            hint = f"\n{self.how_to_get}" if self.how_to_get else ""
            raise MetadataError(f"{root} (dataset.root): {listing.error}. {_FORM}{hint}")
        rows: list[tuple[str, tuple[str, str, str]]] = []
        problems: list[str] = []
        folders = _split_folders(root, listing)
        if root not in dict(folders).values():
            problems += _problems(Path(), listing, {})
        for split, folder in folders:
            where, listing = folder.relative_to(root), _list(folder)
            contents = {gloss: _list(folder / gloss) for gloss in listing.folders}
            problems += _problems(where, listing, contents)
            for gloss, content in contents.items():
                if text_problem(gloss):
                    continue
                paths = [(where / gloss / video).as_posix() for video in content.videos]
                rows += [(path, (split, gloss, path)) for path in paths]
        instances, refused = make_instances(rows, self._instance)
        glosses = sorted({one.gloss for one in instances})
        _check_glosses(root, glosses)
        return Metadata(
            tuple(instances), tuple(glosses), (*(Refused("", problem) for problem in problems), *refused)
        )

    def _instance(self, row: tuple[str, str, str]) -> Instance:
        split, gloss, path = row
        return Instance(video_id=make_video_id(f"{self.name}/{path}"), gloss=gloss, split=split, path=path)


def _split_folders(root: Path, listing: _Listing) -> list[tuple[str, Path]]:
    """Each split and its folder; ``train`` and the root itself if there are no split folders.

    A folder ``test`` that holds videos and no folders is a class.
    """
    contents = {name: _list(root / name) for name in SPLITS if name in listing.folders}
    splits = [name for name, content in contents.items() if content.folders or not content.videos]
    classes = [name for name in listing.folders if name not in splits]
    if splits and classes:
        raise MetadataError(
            f"{root} (dataset.root) has split folders ({', '.join(splits)}) beside others "
            f"({first_few(classes)}). Put all class folders into {', '.join(SPLITS)}, or none"
        )
    return [(split, root / split) for split in splits] or [("train", root)]


def _check_glosses(root: Path, glosses: list[str]) -> None:
    if len(glosses) < 2:
        found = f"one class with videos, {glosses[0]!r}" if glosses else "no class with videos"
        raise MetadataError(f"{root} (dataset.root) has {found}, and two are needed at least. {_FORM}")
    alike: dict[str, list[str]] = defaultdict(list)
    for gloss in glosses:
        alike[unicodedata.normalize("NFC", gloss).casefold()].append(gloss)
    for names in alike.values():
        if len(names) > 1:
            raise MetadataError(
                f"{root} (dataset.root) has classes whose names differ by case or encoding alone: "
                f"{', '.join(map(repr, names))}. Rename or merge their folders"
            )


def _problems(where: Path, listing: _Listing, contents: Mapping[str, _Listing]) -> Iterator[str]:
    """A line for each kind of thing in a folder of class folders that is not used.

    Args:
        where: the folder, relative to the root.
        listing: its content.
        contents: that of its class folders.
    """
    if listing.error:
        yield f"{where}: {listing.error}"
    if listing.videos:
        videos = first_few((where / video).as_posix() for video in listing.videos)
        yield f"{videos}: in no class; move it into a class folder"
    if listing.misnamed:
        names = first_few((where / name).as_posix() for name in listing.misnamed)
        yield f"names that are not in UTF-8: {names}"
    for gloss, content in contents.items():
        folder = (where / gloss).as_posix()
        if content.error:
            yield f"{folder}: {content.error}"
            continue
        if problem := text_problem(gloss):
            yield f"{folder!r}: the name of the class {problem}; rename the folder"
            continue
        if not content.videos:
            yield f"{folder}: the class has no video"
        if content.folders:
            yield f"{folder}: folders in a class are not searched: {first_few(content.folders)}"
        if content.others:
            yield f"{folder}: not a video: {first_few(content.others)}"
        if content.misnamed:
            yield f"{folder}: names that are not in UTF-8: {first_few(content.misnamed)}"


@dataclass(frozen=True)
class _Listing:
    """The names in a folder, sorted, without hidden ones."""

    folders: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)  # their names are not in UTF-8
    error: str = ""  # why the folder cannot be read


def _list(folder: Path) -> _Listing:
    from asl.codecs.video_file import VIDEO_SUFFIXES  # imports av: when it is read, not when it is chosen

    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return _Listing(error=f"cannot be read: {error.strerror or error}")
    parent = folder.parent.resolve()
    if folder.is_symlink() and folder.resolve() in (parent, *parent.parents):
        return _Listing(error="a link to a folder that it lies in")
    listing = _Listing()
    for path in paths:
        name = path.name.encode(errors="backslashreplace").decode()
        if name != path.name:
            listing.misnamed.append(name)
        elif path.is_dir() or (path.is_symlink() and not (path.exists() or path.suffix)):
            listing.folders.append(name)
        elif path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            listing.videos.append(name)
        else:
            listing.others.append(name)
    return listing
