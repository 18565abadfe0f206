"""The frames that preprocessing stores for training, made on the host while cutting or on a GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_videos import RATES, write_raw
from test_cut import make_cut
from test_pipeline import settings as config_for

from asl.codecs.decoder import decode_file
from asl.codecs.frame_collector import FrameCollector, FramesRequest
from asl.codecs.pictures import RgbResizer
from asl.codecs.timeline import read_packet_index
from asl.contract.frame_store import FrameSpec, frames_path, open_frames, origin, read_origin
from asl.contract.manifest import read_manifest
from asl.contract.time_grid import frame_numbers, frames_on_display, grid_length
from asl.data.frames.missing import find_missing, make_frames
from asl.demo.frame_number import read_frame_number
from asl.files import temp_path
from asl.preprocess.clips.frames import FramesOutcome
from asl.preprocess.clips.plan import Cut
from asl.preprocess.gpu import backend
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.gpu.checks import Capability
from asl.preprocess.gpu.dali import accelerator as dali_accelerator
from asl.preprocess.gpu.dali import decoder as dali_decoder
from asl.preprocess.gpu.dali import frames as dali_frames
from asl.preprocess.gpu.dali.accelerator import DaliOffload
from asl.preprocess.gpu.dali.decoder import from_bt601
from asl.preprocess.gpu.dali.frames import make_batch
from asl.preprocess.gpu.dali.jobs import FrameJob
from asl.preprocess.gpu.decodable import unsupported_reason
from asl.preprocess.pipeline import preprocess
from asl.preprocess.sources.raw_files import RawVideo, probe_raw
from asl.workers import Done, Failed

# ---------------------------------------------------------------- which frames

ticks = st.lists(st.integers(5, 120), min_size=1, max_size=60)  # milliseconds from frame to frame


class Numbered:
    """Stands for a frame in the collector: its picture is its number."""

    width, height = 64, 48

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.fixture
def numbers_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def shrink(_: Any, frame: Numbered) -> np.ndarray:
        return np.full((1, 1, 3), frame.number, np.uint8)

    monkeypatch.setattr(RgbResizer, "__call__", shrink)


@pytest.mark.usefixtures("numbers_for_pictures")
@settings(max_examples=200)
@given(ticks=ticks, fps=st.sampled_from([25.0, 12.5, 30000 / 1001, None]))
def test_the_collector_the_gpu_and_the_reader_choose_the_same_frames(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[int], fps: float | None
) -> None:
    times = [Fraction(sum(ticks[:i]), 1000) for i in range(len(ticks))]
    end = Fraction(sum(ticks), 1000)
    collector = FrameCollector(FrameSpec(fps=fps))
    for number, time in enumerate(times):
        collector.add(Numbered(number), time)  # type: ignore[arg-type]
    folder = tmp_path_factory.mktemp("f")
    (folder / "raw").touch()
    asked = FramesRequest(folder / "a", collector.spec, origin(collector.spec, folder / "raw", 0, None))
    collector.write(asked, duration_s=float(end), num_frames=len(times))
    kept = open_frames(folder / "a")[0][:, 0, 0, 0].tolist()
    assert kept == frame_numbers(times, end, Fraction(0), None, fps).tolist()
    if fps is not None:
        points = np.arange(grid_length(float(end), fps)) / fps
        assert kept == frames_on_display(points, [float(time) for time in times]).tolist()


def test_a_span_begins_and_ends_where_the_cut_does() -> None:
    times = [Fraction(i, 30) for i in range(90)]
    found = frame_numbers(times, Fraction(3), Fraction(1), Fraction(2), None)
    assert (found[0], found[-1], len(found)) == (30, 59, 30)
    assert len(frame_numbers(times, Fraction(3), Fraction(1), Fraction(2), 25.0)) == 25
    assert not len(frame_numbers(times, Fraction(3), Fraction(5), None, 25.0))
    assert frame_numbers(times, Fraction(3), Fraction(5, 2), None, None)[-1] == 89


# ---------------------------------------------------------------- on the host


@pytest.fixture(scope="module")
def done(demo_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("frames")
    (data_dir / "raw").symlink_to(demo_dir / "raw")
    (data_dir / "metadata").mkdir()
    for name in ("demo.json", "demo_lengths.json"):
        (data_dir / "metadata" / name).write_text((demo_dir / "metadata" / name).read_text())
    preprocess(config_for(data_dir))
    return data_dir


def kept(data_dir: Path, video_id: str, spec: FrameSpec | None = None) -> np.ndarray:
    return open_frames(frames_path(data_dir / "frames", spec or FrameSpec(), video_id))[0]


def summary(data_dir: Path) -> dict[str, Any]:
    (path,) = (data_dir / "metadata").glob("*_preprocess_summary.json")
    return json.loads(path.read_text())


def test_every_clip_has_the_frames_of_its_grid_and_no_other(done: Path, demo_dir: Path) -> None:
    truth = json.loads((demo_dir / "metadata" / "demo_truth.json").read_text())["instances"]
    clips = read_manifest(done / "metadata" / "demo_manifest.csv")
    assert len(list((done / "frames").rglob("*.safetensors"))) == len(clips)
    for clip in clips:
        true, got = truth[clip.video_id], kept(done, clip.video_id)
        native = decode_file(done / clip.path).timeline
        points = np.arange(grid_length(clip.duration_s, 25)) / 25
        meant = true["first_frame"] + frames_on_display(points, [float(t) for t in native.times])
        assert [read_frame_number(frame) for frame in got] == meant.tolist(), true["note"]
        assert got.shape[1:3] == FrameSpec().size(clip.width, clip.height)
    assert summary(done)["frames"] == {
        "there": 0, "host": len(clips), "gpu": 0, "refused_by_gpu": {}, "failed": {}
    }  # fmt: skip


def test_training_makes_the_same_frames_of_a_copied_clip(done: Path) -> None:
    """Of a clip that was encoded, preprocessing has the source's frames, before encoding."""
    entries = map(json.loads, (done / "metadata" / "clip_proofs.jsonl").read_text().splitlines())
    copied = {entry["video_id"] for entry in entries if entry["proof"]["copied"]}
    clips = [c for c in read_manifest(done / "metadata" / "demo_manifest.csv") if c.video_id in copied]
    assert len(clips) > 3
    folder = done / "frames_of_training"
    files = [done / clip.path for clip in clips]
    for one in find_missing(clips, files, folder=folder, spec=FrameSpec()):
        make_frames(one)
    for clip in clips:
        made, times_s, _ = open_frames(frames_path(folder, FrameSpec(), clip.video_id))
        expected, expected_s, _ = open_frames(frames_path(done / "frames", FrameSpec(), clip.video_id))
        assert np.array_equal(made, expected)
        assert np.array_equal(times_s, expected_s)


def test_they_are_the_clips_own_pictures(done: Path) -> None:
    """But for what encoding loses: frames come from the source."""
    for clip in read_manifest(done / "metadata" / "demo_manifest.csv")[:10]:
        with av.open(str(done / clip.path)) as container:
            first = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(kept(done, clip.video_id)[0].astype(int) - first).mean() < 3


def test_a_second_run_makes_only_what_is_missing_cut_short_or_of_another_kind(done: Path) -> None:
    clips = read_manifest(done / "metadata" / "demo_manifest.csv")
    paths = [frames_path(done / "frames", FrameSpec(), clip.video_id) for clip in clips]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
    paths[0].unlink()
    paths[1].write_bytes(before[paths[1]][1][:-10])
    paths[2].write_bytes(before[paths[3]][1])  # another clip's
    temp_path(paths[0], pid=2**22 + 1).write_bytes(b"half")  # no process has a number as large
    preprocess(config_for(done))
    assert summary(done)["frames"]["there"] == len(clips) - 3
    assert summary(done)["reused"] == len(clips)
    assert {path: path.read_bytes() for path in paths} == {path: old for path, (_, old) in before.items()}
    assert [p for p in paths[3:] if p.stat().st_mtime_ns != before[p][0]] == []
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)

    config = config_for(done)
    config.frames.fps, config.frames.short_side = None, 64
    preprocess(config)
    assert summary(done)["frames"]["host"] == len(clips)
    for clip in clips:
        frames, times, _ = open_frames(
            frames_path(done / "frames", FrameSpec(fps=None, short_side=64), clip.video_id)
        )
        assert len(frames) == len(times) == clip.num_frames
        assert min(frames.shape[1:3]) == 64


def test_frames_can_be_left_out(tmp_path: Path) -> None:
    config = one_file(tmp_path)
    config.frames.enabled = False
    preprocess(config)
    assert not list((tmp_path / "frames").rglob("*.safetensors"))


def test_a_clip_that_becomes_another_loses_its_frames(tmp_path: Path) -> None:
    config = one_file(tmp_path)
    preprocess(config)
    path = frames_path(tmp_path / "frames", FrameSpec(), "v0")
    made_from = read_origin(path)
    write_raw(tmp_path / "raw" / "a.mp4", duration_s=1.5)
    config.frames.enabled = False
    preprocess(config)
    assert not path.exists()
    config.frames.enabled = True
    preprocess(config)
    assert read_origin(path) != made_from
    assert len(kept(tmp_path, "v0")) == round(1.5 * 25)


def one_file(data_dir: Path, **form: Any) -> Any:
    """A data folder of one raw video and one row, and the configuration of a run on it."""
    name = f"a{form.pop('suffix', '.mp4')}"
    write_raw(data_dir / "raw" / name, **form)
    row = {"gloss": "book", "split": "train", "video_id": "v0", "url": f"http://x.example/{name}"}
    (data_dir / "metadata").mkdir(exist_ok=True)
    rows = [row | {"frame_start": 1, "frame_end": -1, "fps": 25}]
    (data_dir / "metadata" / "small.json").write_text(json.dumps(rows))
    return config_for(data_dir, name="small", metadata="small.json")


# ---------------------------------------------------------------- by DALI, replaced by PyAV


def job(
    tmp_path: Path, source: Path, video_id: str = "v0", fps: float | None = 25.0, **span: Any
) -> FrameJob:
    spec = FrameSpec(fps=fps, short_side=96)
    raw = probe_raw(source)
    start_s, end_s = span.get("start_s", Fraction(0)), span.get("end_s")
    made_from = origin(spec, source, float(start_s), end_s)
    keep = FramesRequest(frames_path(tmp_path / "frames", spec, video_id), spec, made_from)
    return FrameJob(
        video_id=video_id,
        source=source,
        start_s=start_s,
        end_s=end_s,
        keep=keep,
        width=raw.width,
        height=raw.height,
    )


def software(samples: Sequence[Any]) -> list[np.ndarray]:
    """What the GPU does with samples, done by PyAV."""
    import io

    results = []
    for sample in samples:
        with av.open(io.BytesIO(sample.encoded.tobytes())) as container:
            shrink = RgbResizer(sample.size[1], sample.size[0])
            frames = [shrink(frame) for frame in container.decode(video=0)]
        results.append(np.stack([frames[i] for i in sample.numbers]))
    return results


@pytest.fixture
def dali_replaced_by_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dali_decoder, "_run", software)
    monkeypatch.setattr(dali_frames, "free_device_bytes", lambda: 10**9)


@pytest.mark.usefixtures("dali_replaced_by_pyav")
@pytest.mark.parametrize("rate", RATES)
def test_a_batch_holds_exactly_the_frames_of_each_segment(tmp_path: Path, rate: str) -> None:
    source = write_raw(tmp_path / "a.mkv", fps=RATES[rate], duration_s=4)
    jobs = (job(tmp_path, source), job(tmp_path, source, "v1", start_s=Fraction(1), end_s=Fraction(9, 4)))
    assert make_batch(jobs) == [None, None]
    timeline = read_packet_index(source).timeline
    for one in jobs:
        meant = frame_numbers(timeline.times, timeline.end, one.start_s, one.end_s, 25.0)
        frames, *_ = open_frames(one.keep.path)
        assert [read_frame_number(frame) for frame in frames] == meant.tolist()
        assert read_origin(one.keep.path) == one.keep.origin


@pytest.mark.usefixtures("dali_replaced_by_pyav")
def test_what_does_not_fit_into_memory_comes_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_raw(tmp_path / "a.mp4", duration_s=3)
    sizes = []

    def watched(samples: Sequence[Any]) -> list[np.ndarray]:
        sizes.append(sum(sample.bytes for sample in samples))
        return software(samples)

    monkeypatch.setattr(dali_decoder, "_run", watched)
    monkeypatch.setattr(dali_frames, "free_device_bytes", lambda: 8_000_000)
    jobs = (job(tmp_path, source), job(tmp_path, source, "v1", fps=None))
    assert make_batch(jobs) == [None, None]
    assert len(sizes) > 2
    assert max(sizes) <= 0.35 * 8_000_000 / 2
    for one in jobs:
        assert [read_frame_number(frame) for frame in open_frames(one.keep.path)[0]] == list(range(75))


@pytest.mark.usefixtures("dali_replaced_by_pyav")
def test_memory_that_runs_out_halves_the_batch_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_raw(tmp_path / "a.mp4", duration_s=2)

    def small_memory(samples: Sequence[Any]) -> list[np.ndarray]:
        if sum(len(sample.numbers) for sample in samples) > 20:
            raise RuntimeError("Critical error in pipeline: CUDA allocation failed: out of memory")
        return software(samples)

    monkeypatch.setattr(dali_decoder, "_run", small_memory)
    jobs = tuple(job(tmp_path, source, f"v{i}") for i in range(3))
    assert make_batch(jobs) == [None] * 3
    for one in jobs:
        assert [read_frame_number(frame) for frame in open_frames(one.keep.path)[0]] == list(range(50))


@pytest.mark.usefixtures("dali_replaced_by_pyav")
def test_a_file_that_the_gpu_cannot_decode_costs_its_neighbours_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [write_raw(tmp_path / f"{i}.mp4") for i in range(4)]
    bad = np.fromfile(sources[2], np.uint8).tobytes()
    sources[1].write_bytes(b"no video")

    def fussy(samples: Sequence[Any]) -> list[np.ndarray]:
        if any(sample.encoded.tobytes() == bad for sample in samples):
            raise RuntimeError("in: x\n\nencountered:\n\nCodec configuration not supported\n\nC++ context: y")
        return software(samples)

    jobs = tuple(job(tmp_path, source if i != 1 else sources[0], f"v{i}") for i, source in enumerate(sources))
    jobs[1].__dict__["source"] = sources[1]
    write_raw(sources[2], duration_s=2.5)
    bad = np.fromfile(sources[2], np.uint8).tobytes()
    monkeypatch.setattr(dali_decoder, "_run", fussy)
    results = make_batch(jobs)
    assert [why is None for why in results] == [True, False, False, True]
    assert "cannot be read" in str(results[1])
    assert results[2] == "Codec configuration not supported"
    assert [one.keep.path.exists() for one in jobs] == [True, False, False, True]


def test_what_a_gpu_cannot_decode_is_known_before(tmp_path: Path) -> None:
    plain = RawVideo(1.0, 640, 480, 30.0, "h264", "yuv420p")
    assert unsupported_reason(plain) is None
    for changes, why in (
        ({"codec": "libdav1d"}, "codec libdav1d"),
        ({"pix_fmt": "yuv444p"}, "pixel format yuv444p"),
        ({"pix_fmt": "yuv420p10le"}, "pixel format yuv420p10le"),
        ({"width": 641}, "odd picture size"),
        ({"codec": "vp9", "width": 96, "height": 96}, "picture too small for vp9"),
        ({"turned": True}, "turned picture"),
    ):
        assert unsupported_reason(dataclasses.replace(plain, **changes)) == why
    assert probe_raw(write_raw(tmp_path / "a.mp4", rotation=90)).turned
    assert not probe_raw(write_raw(tmp_path / "b.mp4")).turned


@pytest.mark.parametrize("matrix", [1, 7, 9])
def test_colours_of_other_matrices_are_put_right(matrix: int) -> None:
    """As FFmpeg converts them, from what BT.601 made of them."""
    rng = np.random.default_rng(0)
    colours = rng.integers(60, 200, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frame = av.VideoFrame.from_ndarray(colours, format="rgb24").reformat(format="yuv444p")
    frame.colorspace = matrix
    right = frame.to_ndarray(format="rgb24").astype(float)
    frame.colorspace = 5
    wrong = frame.to_ndarray(format="rgb24").astype(float)
    mended = np.clip(wrong @ from_bt601(matrix).T, 0, 255)
    inside = (right > 2) & (right < 253) & (wrong > 2) & (wrong < 253)
    assert np.abs(wrong - right)[inside].mean() > 2
    assert np.abs(mended - right)[inside].mean() < 1.5


def test_the_matrix_of_bt601_and_of_files_that_do_not_say_changes_nothing() -> None:
    for matrix in (2, 5, 6):
        assert np.array_equal(from_bt601(matrix), np.eye(3))


def with_dali(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which DALI works, by its capabilities."""
    works = Capability("dali", True, "as tested")
    found = Capabilities(works, works, replace(works, works=False), works, {})
    monkeypatch.setattr(backend, "has_device", lambda: True)
    monkeypatch.setattr(backend, "find_capabilities", lambda **_: found)


class Pool:
    """Stands for the processes that drive the GPU: works in this one."""

    refuse: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()

    def __init__(self, count: int, **_: object) -> None: ...

    def run_each(self, _function: Any, tasks: list[int], **_: object) -> list[Any]:
        return [Done(task, None) for task in tasks]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run_lazily(
        self, function: Any, tasks: Iterator[Any], *, ahead: int, timeout_s: float
    ) -> Iterator[Any]:
        for batch in tasks:
            results = function(batch)
            for i, one in enumerate(batch):
                if one.video_id in self.refuse:
                    results[i] = "too hard"
                if one.video_id in self.wrong:  # a decoder that invents pictures and says nothing
                    path = one.keep.path
                    content = bytearray(path.read_bytes())
                    content[2000:] = bytes(len(content) - 2000)
                    path.write_bytes(content)
            yield Done(batch, results)


@pytest.mark.usefixtures("dali_replaced_by_pyav")
def test_gpu_and_host_together_give_what_the_host_gives_alone(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("raw",):
        (tmp_path / folder).symlink_to(done / folder)
    (tmp_path / "metadata").mkdir()
    for name in ("demo.json", "demo_lengths.json"):
        (tmp_path / "metadata" / name).write_text((done / "metadata" / name).read_text())
    preprocess(config_for(done))
    clips = read_manifest(done / "metadata" / "demo_manifest.csv")
    entries = map(json.loads, (done / "metadata" / "clip_proofs.jsonl").read_text().splitlines())
    plain = [entry["video_id"] for entry in entries if entry["proof"]["copied"]]
    monkeypatch.setattr(dali_accelerator, "Workers", Pool)
    monkeypatch.setattr(Pool, "refuse", frozenset(plain[:1]))
    monkeypatch.setattr(Pool, "wrong", frozenset(plain[1:2]))

    begin = DaliOffload.start

    def start(offload: DaliOffload, cuts: Sequence[Cut]) -> None:  # returns when the GPU has made all
        begin(offload, cuts)
        offload._thread.join()

    monkeypatch.setattr(DaliOffload, "start", start)
    config = config_for(tmp_path)
    config.trim.name = "dali"
    with_dali(monkeypatch)
    preprocess(config)
    for name in ("demo_manifest.csv", "demo_preprocess_errors.csv"):
        assert (tmp_path / "metadata" / name).read_bytes() == (done / "metadata" / name).read_bytes()
    outcome = FramesOutcome(**summary(tmp_path)["frames"])
    assert outcome.gpu > 10
    assert outcome.gpu + outcome.host == len(clips)
    assert outcome.refused_by_gpu["too hard"] == 1
    assert outcome.refused_by_gpu["other pictures than the proof"] == 1
    assert outcome.refused_by_gpu["turned picture"] >= 1
    files = sorted(path.name for path in (tmp_path / "frames").rglob("*.safetensors"))
    assert files == sorted(f"{clip.video_id}.safetensors" for clip in clips)  # none of damaged sources
    for clip in clips:
        a, b = kept(done, clip.video_id), kept(tmp_path, clip.video_id)
        assert np.abs(a.astype(int) - b).mean() <= 2


@pytest.mark.usefixtures("dali_replaced_by_pyav")
def test_where_no_gpu_process_starts_the_host_makes_all_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_pool: Pool, _function: Any, tasks: list[int], **_: object) -> list[Any]:
        return [Failed(task, None, "crashed the decoder (exit code -11)", "crash") for task in tasks]

    monkeypatch.setattr(dali_accelerator, "Workers", Pool)
    monkeypatch.setattr(Pool, "run_each", broken)
    with_dali(monkeypatch)
    config = one_file(tmp_path)
    config.trim.name = "dali"
    preprocess(config)
    assert FramesOutcome(**summary(tmp_path)["frames"]) == FramesOutcome(host=1)
    assert [read_frame_number(frame) for frame in kept(tmp_path, "v0")] == list(range(50))


def test_a_clip_is_made_by_the_gpu_or_by_the_host_never_by_both(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.mp4")
    cuts = [
        make_cut(
            source,
            tmp_path / "videos" / "train" / "book" / f"{video_id}.mp4",
            video_id=video_id,
            frames=job(tmp_path, source, video_id).keep,
            raw=probe_raw(source),
        )
        for video_id in ("v0", "v1", "v2")
    ]
    offload = DaliOffload(Pool(1), timeout_s=60)  # type: ignore[arg-type]
    offload._thread.start = lambda: None  # type: ignore[method-assign]
    offload.start(cuts)
    assert offload.claim_for_host("v1")
    taken = [one.video_id for batch in offload._batches() for one in batch]
    assert taken == ["v0", "v2"]
    assert [offload.claim_for_host(cut.video_id) for cut in cuts] == [False, True, False]


def test_parts_of_pictures_are_left_to_the_host(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.mp4")
    whole = job(tmp_path, source).keep
    part = replace(whole, origin=replace(whole.origin, part=(0.25, 0.0, 0.75, 1.0)))
    target = tmp_path / "videos" / "train" / "book" / "a.mp4"
    cuts = [
        make_cut(source, target, video_id=video_id, frames=frames, raw=probe_raw(source))
        for video_id, frames in (("v0", whole), ("v1", part))
    ]
    offload = DaliOffload(Pool(1), timeout_s=60)  # type: ignore[arg-type]
    offload._thread.start = lambda: None  # type: ignore[method-assign]
    offload.start(cuts)
    assert [one.video_id for batch in offload._batches() for one in batch] == ["v0"]
    assert offload.claim_for_host("v1")
    assert offload._refused == {"v1": "frames.crop=signer"}


# ---------------------------------------------------------------- on a GPU


def without_dali() -> bool:
    return importlib.util.find_spec("nvidia.dali") is None and os.environ.get("ASL_REQUIRE_GPU") != "1"


@pytest.mark.gpu
def test_dali_gives_what_the_host_gives(done: Path, tmp_path: Path) -> None:
    if without_dali():
        pytest.skip("DALI is not installed")
    (tmp_path / "raw").symlink_to(done / "raw")
    (tmp_path / "metadata").mkdir()
    for name in ("demo.json", "demo_lengths.json"):
        (tmp_path / "metadata" / name).write_text((done / "metadata" / name).read_text())
    preprocess(config_for(done))
    config = config_for(tmp_path)
    config.trim.name, config.trim.workers = "dali", 1
    preprocess(config)
    for name in ("demo_manifest.csv", "demo_preprocess_errors.csv"):
        assert (tmp_path / "metadata" / name).read_bytes() == (done / "metadata" / name).read_bytes()
    clips = read_manifest(done / "metadata" / "demo_manifest.csv")
    outcome = FramesOutcome(**summary(tmp_path)["frames"])
    assert outcome.gpu > 0
    assert outcome.gpu + outcome.host == len(clips)
    for clip in clips:
        a, b = kept(done, clip.video_id), kept(tmp_path, clip.video_id)
        assert [read_frame_number(frame) for frame in a] == [read_frame_number(frame) for frame in b]
        assert np.abs(a.astype(int) - b).mean() <= 2


@pytest.mark.gpu
@pytest.mark.parametrize("rate", RATES)
def test_dali_decodes_exactly_the_frames_of_a_segment(tmp_path: Path, rate: str) -> None:
    if without_dali():
        pytest.skip("DALI is not installed")
    source = write_raw(tmp_path / "a.mp4", fps=RATES[rate], duration_s=12)
    spans = ((0, None), (Fraction(1), Fraction(2)), (Fraction(79, 10), Fraction(11)))
    jobs = tuple(
        job(tmp_path, source, f"v{i}", start_s=Fraction(start), end_s=end)
        for i, (start, end) in enumerate(spans)
    )
    assert make_batch(jobs) == [None] * 3
    timeline = read_packet_index(source).timeline
    for one in jobs:
        meant = frame_numbers(timeline.times, timeline.end, one.start_s, one.end_s, 25.0)
        assert [read_frame_number(frame) for frame in open_frames(one.keep.path)[0]] == meant.tolist()
