"""Clips that the host makes in groups: each is known when it ends, and fails for itself."""

import os
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest
from raw_videos import frame_numbers, write_raw
from test_cut import make_cut

from asl.codecs.encoder import x264
from asl.preprocess.clips.cut import CutError, make_clips
from asl.preprocess.clips.host_queue import HostQueue, _groups, cut_on_host
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.raw_files import RawVideo
from asl.workers import RunningTasks, Workers


class IdleWorkers(Workers):
    """Stands for worker processes that have begun their tasks and not ended one."""

    def __init__(self, count=1):
        self.count, self.required = count, True
        self.tasks = []  # each with its future

    def schedule(self, function, task, *, timeout_s):
        group = isinstance(function, partial)  # each of its clips has the limit, which the worker sees to
        assert (function.func if group else function) is make_clips
        assert (
            function.keywords == {"clip_limit_s": 60, "offer_to": os.getpid()}
            if group
            else len(task) == 1 or task == "of another queue"
        )
        assert timeout_s == 60 * (len(task) if group else 1)
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


def planned(names, *settings):
    """Cuts with these video_ids and, for each of the first ones, settings; each has a source of its own."""
    target = Path("data/videos/train/book/7.mp4")
    return [
        make_cut(Path(f"{name}.mp4"), target.with_stem(name), video_id=name, **changes)
        for name, changes in zip_longest(names, settings, fillvalue={})
    ]


def ids(groups):
    return ["".join(cut.video_id for cut in group) for group in groups]


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
    assert queue.poll_s == 0.1  # one of two is still known before the group ends
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
    told = {
        "time limit": "took longer than 60 s; give it more with trim.timeout_s=120",
        "error": "ValueError: a mistake",
    }
    assert str(failed) == f"raw.mp4 {told[failed.reason]}"


def test_a_group_that_fails_in_its_last_clip_leaves_that_one_only(queue):
    ((group, future),) = queue.workers.tasks
    begin(group, 3)
    assert queue.poll_s == 0.1
    assert by_id(queue.results()) == {"0": Proof, "1": CutError, "2": Proof}
    assert queue.poll_s is None  # the last result comes with the group
    future.set_exception(FutureTimeoutError())
    assert end(queue) == []
    queue.start()
    assert ids(group for group, _ in queue.workers.tasks[1:]) == ["3"]


def test_each_worker_has_a_group_and_one_that_waits():
    workers, turns = IdleWorkers(count=2), []

    def at_its_turn(cut):
        turns.append(cut.video_id)
        return replace(cut, audio=True)

    with RunningTasks() as running:
        running.start(workers, make_clips, "of another queue", key="other", timeout_s=60)
        cuts = planned("abcdef")
        queue = HostQueue(cuts, workers, running, timeout_s=60, key="own", at_its_turn=at_its_turn)
        assert turns == []
        queue.start()
        queue.start()
        assert turns == ["a", "b", "c", "d"]
        assert queue.poll_s is None
        workers.tasks[2][1].set_result(["a proof"])
        ((key, ended),) = running.next()
        assert (key, queue.ended(ended)) == ("own", [(replace(cuts[1], audio=True), "a proof")])
        queue.start()
        assert turns == ["a", "b", "c", "d", "e"]
        assert [task for task, _ in workers.tasks[1:]] == [(replace(cut, audio=True),) for cut in cuts[:5]]


class Inline(IdleWorkers):
    """Makes clips in this process when they are handed over."""

    def schedule(self, function, task, *, timeout_s):
        future = super().schedule(function, task, timeout_s=timeout_s)
        future.set_result([CutError(f"{cut.video_id} is damaged", "damaged source") for cut in task])
        return future


def test_every_clip_is_made_on_the_host_in_its_turn():
    cuts, turns = planned("abcde"), []

    def at_its_turn(cut):
        turns.append(cut.video_id)
        return cut

    made = list(cut_on_host(cuts, Inline(), timeout_s=60, at_its_turn=at_its_turn))
    assert [(cut.video_id, str(error)) for cut, error in made] == [
        (one, f"{one} is damaged") for one in "abcde"
    ]
    assert turns == list("abcde")
    assert len(list(cut_on_host(cuts, Inline(), timeout_s=60))) == 5


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [
        (3, 1, [1, 1, 1]),
        (7, 1, [1] * 7),
        (8, 1, [2] * 4),
        (9, 1, [2] * 4 + [1]),
        (16, 2, [2] * 8),
        (36, 1, [8] * 4 + [4]),
        (80, 1, [8] * 10),
    ],
)
def test_segments_of_a_source_are_in_groups_of_at_most_eight_four_for_each_worker(count, workers, sizes):
    names = [f"{i:02d}" for i in range(count)]
    cuts = [
        replace(cut, source=Path("a.mp4"), start_s=Fraction(i), end_s=Fraction(i + 1))
        for i, cut in enumerate(planned(names))
    ]
    groups = _groups(cuts[::-1], workers)
    assert [len(group) for group in groups] == sizes
    assert [cut.video_id for group in groups for cut in group] == names


def test_a_group_is_of_one_source_and_in_the_order_of_the_segments():
    late, early = ({"start_s": Fraction(start_s), "end_s": Fraction(start_s + 1)} for start_s in (5, 1))
    cuts = planned("abcdefgh", *[late, early] * 4)
    sources = [Path("1.mp4"), Path("2.mp4")]
    cuts = [replace(cut, source=sources[i // 2 % 2]) for i, cut in enumerate(cuts)]
    assert ids(_groups(cuts, 1)) == ["ae", "bf", "cg", "dh"]


def raw(codec="h264", *, width=500, height=400, fps=10.0, duration_s=10.0):
    return RawVideo(duration_s, width, height, fps, codec)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (raw(), raw(duration_s=9)),
        (raw(), raw(fps=9)),
        # 0.2 ms for each frame, and as much for 100,000 pixels
        (raw(duration_s=10), raw(width=250, height=200, duration_s=19)),
        (raw(width=250, height=200, duration_s=21), raw(duration_s=10)),
        (raw(width=50, height=40, duration_s=30), raw(duration_s=10)),
        # what cannot be copied is encoded, for three times the work
        (raw("av1"), raw(duration_s=39)),
        (raw("vp9"), raw(duration_s=39)),
        (raw(duration_s=41), raw("vp9")),
        (raw("h264", width=640, height=480, fps=30, duration_s=3.1), None),
        (None, raw("h264", width=640, height=480, fps=30, duration_s=2.9)),
    ],
)
def test_the_most_work_comes_first(more, less):
    cuts = planned("ab", {"raw": less}, {"raw": more})
    assert ids(_groups(cuts, 1)) == ["b", "a"]


def test_a_segment_is_encoded_and_costs_more_than_the_whole_video():
    part = {"raw": raw(duration_s=11), "start_s": Fraction(1)}
    assert ids(_groups(planned("ab", {"raw": raw(duration_s=39)}, part), 1)) == ["b", "a"]
    assert ids(_groups(planned("ab", part, {"raw": raw(duration_s=41)}), 1)) == ["b", "a"]


def test_groups_of_as_much_work_are_in_the_order_of_their_names():
    assert ids(_groups(planned("cab"), 1)) == ["a", "b", "c"]


def test_each_clip_of_a_group_has_the_time_limit_for_itself(cuts, monkeypatch):
    limits = []
    monkeypatch.setattr("asl.preprocess.clips.cut.end_process_after", limits.append)
    make_clips(tuple(cuts[:2]), clip_limit_s=60)  # the second one fails
    assert limits == [60, None, 60, None]
