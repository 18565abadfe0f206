"""Clips that the host makes in groups: each is known when it ends, and fails for itself."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from fractions import Fraction

import pytest
from raw_videos import frame_numbers, write_raw

from asl.codecs.encoder import x264
from asl.preprocess.clips.cut import make_clips
from asl.preprocess.clips.host_queue import HostQueue
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.workers import RunningTasks


class IdleWorkers:
    """Stands for worker processes that have begun their tasks and not ended one."""

    def __init__(self):
        self.count = 1
        self.tasks = []  # each with its future

    def schedule(self, function, task, *, timeout_s):
        assert (function, timeout_s) == (make_clips, 60)
        self.tasks.append((task, Future()))
        return self.tasks[-1][1]


@pytest.fixture
def cuts(tmp_path):
    """Four segments of ten frames of one source, the second of which ends far behind its end."""
    source = write_raw(tmp_path / "raw.mp4", duration_s=1.6)
    return [
        Cut(
            video_id=f"{i}",
            source=source,
            target=tmp_path / "videos" / f"{i}.mp4",
            thumbnails=tmp_path / "strips" / f"{i}.jpg",
            start_s=Fraction(2 * i, 5),
            end_s=Fraction(9) if i == 1 else Fraction(2 * i + 2, 5),
            end_tolerance_s=Fraction(0),
            encoder=x264(crf=20, preset="ultrafast"),
            audio=False,
        )
        for i in range(4)
    ]


@pytest.fixture
def queue(cuts, monkeypatch):
    monkeypatch.setattr("asl.preprocess.clips.host_queue._groups", lambda cuts, _: [tuple(cuts)])
    workers = IdleWorkers()
    with RunningTasks() as running:
        queue = HostQueue(cuts, workers, running, timeout_s=60)
        queue.start()
        queue.workers, queue.running = workers, running
        yield queue


def begin(group, count):
    """Make the first clips of a group, as a worker does that has not ended the task: one more fails."""
    make_clips((*group[:count], replace(group[count], end_s=Fraction(0))))


def end(queue):
    """What the queue returns for the tasks that have ended."""
    return [result for _, ended in queue.running.next() for result in queue.ended(ended)]


def by_id(results):
    return {cut.video_id: type(result) for cut, result in results}


def test_a_clip_is_known_before_its_group_ends(cuts, queue):
    ((group, future),) = queue.workers.tasks
    assert queue.results() == []
    begin(group, 2)
    (_, proof), (_, error) = queue.results()
    assert queue.results() == []
    results = make_clips(group)
    assert proof == results[0]
    assert (str(error), error.reason) == (results[1].message, "segment past the end")
    future.set_result(results)
    assert by_id(end(queue)) == {"2": Proof, "3": Proof}
    assert [frame_numbers(cut.target) for cut in cuts[2:]] == [list(range(20, 30)), list(range(30, 40))]
    queue.start()
    assert len(queue.running) == 0


@pytest.mark.parametrize("error", [FutureTimeoutError(), ValueError("a mistake")])
def test_the_clip_in_which_a_group_fails_is_made_again_alone(queue, error):
    ((group, future),) = queue.workers.tasks
    begin(group, 1)
    future.set_exception(error)
    assert by_id(end(queue)) == {"0": Proof}
    queue.start()
    (alone, its_future), (rest, _) = queue.workers.tasks[1:]
    assert [[cut.video_id for cut in group] for group in (alone, rest)] == [["1"], ["2", "3"]]
    its_future.set_exception(error)  # and again: it has failed
    ((cut, failed),) = end(queue)
    assert (cut.video_id, failed.reason) == ("1", "time limit" if error.args == () else "error")
