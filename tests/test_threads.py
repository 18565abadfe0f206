"""Functions called in threads."""

from __future__ import annotations

import threading

import pytest

from asl.threads import map_in_threads


def test_results_are_in_the_order_of_the_items_and_of_several_threads() -> None:
    names = set()

    def square(number: int) -> int:
        names.add(threading.current_thread().name)
        return number**2

    assert list(map_in_threads(square, range(5000))) == [number**2 for number in range(5000)]
    assert threading.current_thread().name not in names
    assert list(map_in_threads(square, [])) == []


def test_an_exception_is_raised() -> None:
    def fail(number: int) -> int:
        return 1 // (number - 3)

    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(fail, range(5)))
