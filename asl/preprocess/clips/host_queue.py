"""Clips that wait for the host's worker processes, in groups of one source."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asl.preprocess.clips.cut import CutError, make_clips
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.raw_files import USUAL
from asl.workers import Done, Failed, RunningTasks, Workers

#: Segments of one source that are cut by one task. More would decode fewer frames twice, but a run that is
#: killed would lose more.
GROUP = 8


class HostQueue:
    """Clips that the host is to make, in the order in which to make them.

    A group whose worker hangs or crashes comes back as single clips.

    Args:
        cuts: the clips.
        workers: number of worker processes.
    """

    def __init__(self, cuts: Sequence[Cut], workers: int) -> None:
        self._groups = deque(_groups(cuts, workers))

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, cut: Cut) -> None:
        """Append a clip, as a group of its own."""
        self._groups.append((cut,))

    def pop(self) -> tuple[Cut, ...]:
        """The next group, for :func:`asl.preprocess.clips.cut.make_clips`."""
        return self._groups.popleft()

    def results(
        self, ended: Done[tuple[Cut, ...], list[Proof | CutError]] | Failed[tuple[Cut, ...]], timeout_s: float
    ) -> list[tuple[Cut, Proof | CutError]]:
        """The results of a group that has ended; of one that failed as a whole, none yet."""
        if isinstance(ended, Done):
            return list(zip(ended.task, ended.result, strict=True))
        if len(ended.task) > 1:
            for cut in ended.task:
                self.add(cut)
            return []
        return [(ended.task[0], _error(ended, timeout_s))]


def cut_on_host(
    cuts: Sequence[Cut],
    workers: Workers,
    *,
    timeout_s: float,
    at_its_turn: Callable[[Cut], Cut] = lambda cut: cut,
) -> Iterator[tuple[Cut, Proof | CutError]]:
    """Make clips in the host's worker processes; yields them as they end.

    Args:
        cuts: the clips.
        workers: the processes.
        timeout_s: time limit of a group.
        at_its_turn: called with each clip when it is handed to a worker; returns what is to be cut.
    """
    queue = HostQueue(cuts, workers.count)
    with RunningTasks() as running:
        while queue or len(running):
            while queue and len(running) < 2 * workers.count:
                running.start(workers, make_clips, tuple(map(at_its_turn, queue.pop())), timeout_s=timeout_s)
            for _, ended in running.next():
                yield from queue.results(ended, timeout_s)


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
    return sorted(groups, key=lambda group: (-sum(map(_estimated_ms, group)), group[0].video_id))


def _estimated_ms(cut: Cut) -> float:
    """Estimated time of a cut in milliseconds on one core of the machine in benchmarks/README.md."""
    raw, (_, frames) = cut.raw or USUAL, cut.estimated_length()
    frame_ms = 0.2 + raw.width * raw.height * 2e-6  # decoding a frame and shrinking it
    return frames * frame_ms * (1 if cut.is_whole and raw.codec == "h264" else 4)  # encoding adds three times


def _error(failed: Failed[tuple[Cut, ...]], timeout_s: float) -> CutError:
    """The error of a single clip whose worker was killed or crashed, or raised an unexpected exception."""
    (cut,) = failed.task
    message = f"{cut.source.name} {failed.message}"
    if failed.reason == "time limit":
        message += f"; give it more with trim.timeout_s={2 * timeout_s:g}"
    return CutError(message, failed.reason)
