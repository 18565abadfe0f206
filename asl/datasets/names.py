"""Names of files and folders that are made of what the metadata says."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)

_LONGEST_NAME = 200  # bytes; file systems allow 255, and endings are added
_LONGEST_READABLE = 60  # characters of a made name before its digest
_DIGEST_BYTES = 4

#: Unicode categories: control characters, surrogates, separators of lines and paragraphs. Not those of format
#: and blanks, which words of some scripts and file names of cameras have.
_CONTROL = ("Cc", "Cs", "Zl", "Zp")


def text_problem(text: Any) -> str | None:
    """Why ``text`` cannot be a gloss or the name of a signer. None if it can; any script will do."""
    if not isinstance(text, str) or not text:
        return "is not a text"
    if not text.isprintable() and any(unicodedata.category(char) in _CONTROL for char in text):
        return "holds control characters"
    if text != text.strip():
        return "starts or ends with white space"
    return None


def name_problem(name: Any) -> str | None:
    """Why ``name`` cannot be the name of a single folder or file. None if it can."""
    problem = text_problem(name)
    if problem:
        return problem
    if not name.isprintable():
        return "holds characters that cannot be seen"
    if name.startswith("."):
        return "starts with a dot"
    if "/" in name or "\\" in name:
        return "holds a path separator"
    if len(name.encode()) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    return None


def path_problem(path: Any) -> str | None:
    """Why ``path`` cannot be a path below the data set's folder. None if it can."""
    problem = text_problem(path)
    if problem:
        return problem
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        return "does not lie below dataset.root"
    return None


def make_video_id(text: str) -> str:
    """A video_id for a clip that the metadata gives none: equal texts, such as paths, give equal ones.

    >>> make_video_id("signer0_sample1")
    'signer0_sample1'
    >>> make_video_id("thank you/1.mp4")
    'thank-you-1-mp4-19202aa6'
    """
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text) and name_problem(text) is None:
        return text
    return _with_digest(text)


def distinct_glosses(names: Mapping[Key, str]) -> dict[Key, str]:
    """The gloss of each class: its name, with the class's key if several classes have the name.

    >>> distinct_glosses({1: "hand", 2: "face", 3: "face"})
    {1: 'hand', 2: 'face (2)', 3: 'face (3)'}
    """
    count = Counter(names.values())
    return {key: name if count[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def folder_names(glosses: Iterable[str]) -> dict[str, str]:
    """A folder for each gloss: the gloss itself, or its ASCII letters and a digest if it cannot be one.

    Names that differ by case alone are told apart, too: file systems may not. The first gloss keeps its name.

    >>> folder_names(["book", "Book", "hurdle/trip"])
    {'book': 'book', 'Book': 'Book-63b8a347', 'hurdle/trip': 'hurdle-trip-85c84c7c'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for gloss in glosses:
        name = gloss if gloss.isascii() and name_problem(gloss) is None else _with_digest(gloss)
        if name.casefold() in taken:
            name = _with_digest(gloss)
        taken.add(name.casefold())
        names[gloss] = name
    return names


def _with_digest(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9]+", "-", decomposed)[:_LONGEST_READABLE].strip("-")
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{readable}-{digest}" if readable else digest
