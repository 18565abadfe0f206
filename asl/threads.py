"""Run functions that wait for files in threads: network file systems answer slowly, but many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 16
_CHUNK = 256  # items of one task of a thread: handing over a single one takes longer than looking at a file


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield the result of each item, in their order. The first exception is raised.

    Args:
        function: changes nothing that another thread reads.
        items: for the function.
    """

    def call_each(start: int) -> list[Result]:
        return [function(item) for item in items[start : start + _CHUNK]]

    with ThreadPoolExecutor(_THREADS) as threads:
        for results in threads.map(call_each, range(0, len(items), _CHUNK)):
            yield from results
