"""Formatting of messages: shortened lists, and sizes in bytes."""

from __future__ import annotations

from collections.abc import Iterable


def first_few(items: Iterable[str], most: int = 5, *, separator: str = ", ") -> str:
    """The first ``most`` items, and the number of the others.

    >>> first_few(["a", "b", "c"], most=2)
    'a, b and 1 more'
    >>> first_few(["a", "b"])
    'a, b'
    """
    listed = list(items)
    more = len(listed) - most
    shown = separator.join(listed[:most])
    return f"{shown} and {more:,} more" if more > 0 else shown


def listed_lines(items: Iterable[str], most: int = 5) -> str:
    """Like :func:`first_few`, with one line per item, indented by two spaces."""
    items = list(items)
    lines = [f"  {item}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  and {len(items) - most:,} more")
    return "\n".join(lines)


def format_bytes(count: int) -> str:
    """A size in decimal units.

    >>> format_bytes(215_000_000), format_bytes(8_900_000_000)
    ('215 MB', '8.9 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
