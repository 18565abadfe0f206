"""What happened to each URL, in ``downloads.jsonl``: a line is appended whenever something does.

A killed run loses nothing: a file that was begun is continued, and what failed for good is not tried again.
Which files there are is not read from here but from the raw folder.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from asl.download.failure import Failure
from asl.errors import UserError


@dataclass(frozen=True)
class Begun:
    """A response whose body is being stored."""

    validator: str  # strong ETag or Last-Modified, for If-Range; empty: the response had none
    total: int | None  # bytes of the whole file; None if unknown


@dataclass(frozen=True)
class Done:
    """A file that was fetched."""

    file: str  # relative to the raw folder
    num_bytes: int


_STATES = {"begun": Begun, "done": Done, "failed": Failure}
_NAMES = {kind: name for name, kind in _STATES.items()}


class DownloadLog:
    """The log file. Lines that cannot be read, as a killed run leaves one, are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun: dict[str, Begun] = {}
        self._failures: dict[str, tuple[str, Failure]] = {}
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for line in text.splitlines():
            self._read(line)
        self._line_is_open = bool(text) and not text.endswith("\n")

    def add(self, url: str, entry: Begun | Done | Failure) -> None:
        """Append a line. It is not synced to disk: a power failure can lose it.

        Raises:
            UserError: it cannot be written.
        """
        when = datetime.now().astimezone().isoformat(timespec="seconds")
        self._store(url, when, entry)
        fields: dict[str, Any] = {"url": url, "state": _NAMES[type(entry)], "when": when}
        line = json.dumps(fields | dataclasses.asdict(entry)) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" + line if self._line_is_open else line)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from None
        self._line_is_open = False

    def begun(self, url: str) -> Begun | None:
        """The response whose body is stored in part. None if there is none."""
        return self._begun.get(url)

    def failure(self, url: str) -> tuple[str, Failure] | None:
        """When and why the URL failed last. None if it did not, or was fetched since."""
        return self._failures.get(url)

    def _store(self, url: str, when: str, entry: Begun | Done | Failure) -> None:
        if isinstance(entry, Begun):
            self._begun[url] = entry
            return
        if isinstance(entry, Done) or entry.permanent:
            self._begun.pop(url, None)
        if isinstance(entry, Done):
            self._failures.pop(url, None)
        else:
            self._failures[url] = when, entry

    def _read(self, line: str) -> None:
        try:
            fields = json.loads(line)
            entry = _STATES[fields.pop("state")]
            self._store(fields.pop("url"), fields.pop("when"), entry(**fields))
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # incomplete, or of another version
