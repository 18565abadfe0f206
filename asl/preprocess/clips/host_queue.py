"""Clips that wait for the host's worker processes, in groups of one source."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from asl.preprocess.clips.cut import CutError, make_clips, take_result
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.workers import Done, Failed, RunningTasks, Workers

#: Segments of one source that are cut by one task. More would decode fewer frames twice, but share out the
#: work less evenly.
GROUP = 8

_POLL_S = 0.1  # time between two looks for clips of groups that have not ended

Result = tuple[Cut, Proof | CutError]


class HostQueue:
    """Clips that the host is to make, in the order in which to make them.

    Each clip of a group is known as soon as it ends. If the worker of a group hangs or crashes, the clip that
    it was making is made again alone, with a time limit of its own, and those after it as a group.

    Args:
        cuts: the clips.
        workers: the processes that make them.
        running: where tasks are started.
        timeout_s: time limit of a clip.
        key: of the tasks in ``running``.
        at_its_turn: called with each clip when it is handed to a worker; returns what is to be cut.
    """

    def __init__(
        self,
        cuts: Sequence[Cut],
        workers: Workers,
        running: RunningTasks,
        *,
        timeout_s: float,
        key: object = None,
        at_its_turn: Callable[[Cut], Cut] = lambda cut: cut,
    ) -> None:
        self._waiting = deque(_groups(cuts, workers.count))
        self._workers, self._running, self._key = workers, running, key
        self._timeout_s, self._at_its_turn = timeout_s, at_its_turn
        self._left: dict[str, deque[Cut]] = {}  # of each started group, by its first clip: those to come

    def add(self, cut: Cut) -> None:
        """Append a clip, as a group of its own."""
        self._waiting.append((cut,))

    def start(self) -> None:
        """Give the workers as many groups as keep them busy."""
        while self._waiting and self._running.count(self._key) < 2 * self._workers.count:
            cuts = tuple(map(self._at_its_turn, self._waiting.popleft()))
            self._left[cuts[0].video_id] = deque(cuts)
            # A single clip needs only the limit of the pool, which reports it as a time limit.
            several = partial(make_clips, clip_limit_s=self._timeout_s, offer_to=os.getpid())
            make = several if len(cuts) > 1 else make_clips
            timeout_s = len(cuts) * self._timeout_s
            self._running.start(self._workers, make, cuts, key=self._key, timeout_s=timeout_s)

    @property
    def poll_s(self) -> float | None:
        """How long to wait for tasks before :meth:`results` is called. None: until one has ended."""
        return _POLL_S if any(len(left) > 1 for left in self._left.values()) else None

    def results(self) -> list[Result]:
        """The results of clips that have ended since the last call, of groups that have not."""
        return [result for left in self._left.values() for result in _take_results(left)]

    def ended(
        self, ended: Done[tuple[Cut, ...], list[Proof | CutError]] | Failed[tuple[Cut, ...]]
    ) -> list[Result]:
        """The results of a group that has ended, but for those that were returned before."""
        left = self._left.pop(ended.task[0].video_id)
        results = _take_results(left)
        if isinstance(ended, Done):
            return results + list(zip(left, ended.result[-len(left) :], strict=True))
        alone, *others = left
        if len(ended.task) == 1:
            return [(alone, _error(alone, ended, self._timeout_s))]
        self.add(alone)
        if others:
            self._waiting.append(tuple(others))
        return results


def _take_results(left: deque[Cut]) -> list[Result]:
    """The results of clips that a group has made, which are removed from those to come; never the last."""
    results: list[Result] = []
    while len(left) > 1 and (result := take_result(left[0])) is not None:
        results.append((left.popleft(), result))
    return results


def cut_on_host(
    cuts: Sequence[Cut],
    workers: Workers,
    *,
    timeout_s: float,
    at_its_turn: Callable[[Cut], Cut] = lambda cut: cut,
) -> Iterator[Result]:
    """Make clips in the host's worker processes; yields them as they end.

    Args:
        cuts: the clips.
        workers: the processes.
        timeout_s: time limit of a clip.
        at_its_turn: called with each clip when it is handed to a worker; returns what is to be cut.
    """
    with RunningTasks() as running:
        queue = HostQueue(cuts, workers, running, timeout_s=timeout_s, at_its_turn=at_its_turn)
        queue.start()
        while len(running):
            for _, ended in running.next(queue.poll_s):
                yield from queue.ended(ended)
            yield from queue.results()
            queue.start()


def _groups(cuts: Sequence[Cut], workers: int) -> list[tuple[Cut, ...]]:
    """Consecutive segments of one source form a group. The groups with the most work come first.

    If they came last, one worker would be busy while the others wait.
    """
    size = min(GROUP, max(1, len(cuts) // (4 * workers)))  # at least about four groups for each worker
    of_source: dict[Path, list[Cut]] = {}
    for cut in cuts:
        of_source.setdefault(cut.source, []).append(cut)
    groups = []
    for members in of_source.values():
        members.sort(key=lambda cut: (cut.start_s, cut.video_id))
        groups += [tuple(members[i : i + size]) for i in range(0, len(members), size)]
    return sorted(groups, key=lambda group: (-sum(map(Cut.estimated_ms, group)), group[0].video_id))


def _error(cut: Cut, failed: Failed[tuple[Cut, ...]], timeout_s: float) -> CutError:
    """The error of a clip whose worker was killed or crashed, or raised an unexpected exception."""
    message = f"{cut.source.name} {failed.message}"
    if failed.reason == "time limit":
        message += f"; give it more with trim.timeout_s={2 * timeout_s:g}"
    return CutError(message, failed.reason)
