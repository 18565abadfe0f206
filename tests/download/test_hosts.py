"""How often a host is asked, on a clock of the test."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from asl.download.hosts import Host, retry_after_s


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = [100.0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr("asl.download.hosts.time.monotonic", lambda: now[0])
    monkeypatch.setattr("asl.download.hosts.asyncio.sleep", sleep)
    return now


def turns(host, count, clock):
    times = []

    async def take():
        for _ in range(count):
            await host.turn()
            times.append(clock[0])

    asyncio.run(take())
    return times


def test_requests_are_an_interval_apart(clock):
    assert turns(Host(interval_s=0.5, give_up_after=1), 3, clock) == [100, 100.5, 101]


def test_a_host_that_asks_for_a_pause_gets_it_and_a_shorter_one_does_not_end_it(clock):
    host = Host(interval_s=2, give_up_after=1)
    host.wait(30)
    host.wait(1)
    assert turns(host, 2, clock) == [130, 132]


def test_a_host_is_given_up_after_files_in_a_row():
    host = Host(interval_s=0, give_up_after=2)
    given_up = []
    for failed in (True, False, True, True, False):
        host.ended(failed=failed)
        given_up.append(host.is_given_up)
    assert given_up == [False, False, False, True, True]


def test_retry_after_is_a_number_or_a_date():
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    read = {text: retry_after_s(text, now) for text in ("0", " 7 ", "soon", "-1", "")}
    assert read == {"0": 0, " 7 ": 7, "soon": None, "-1": None, "": None}
    assert retry_after_s(None, now) is None
    assert retry_after_s("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    assert retry_after_s("Thu, 01 Jan 2026 00:01:00 -0000", now) == 60
    assert retry_after_s("Thu, 01 Jan 2026 00:01:00 GMT", now + timedelta(hours=1)) == 0
