"""Both readers and both placements draw the same frames with the same seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import make_clip, write_clip, write_dataset
from test_datamodule import make_module

from asl.contract.frame_store import FrameSettings, FrameSpec, open_frames, read_origin, write_frames
from asl.contract.manifest import Clip
from asl.data.clip_files import ClipError
from asl.data.datamodule import ClipDataModule
from asl.data.frames.missing import find_missing, make_missing
from asl.data.frames.on_device import FramesOnDevice
from asl.data.frames.store import FrameStore, resize_frames
from asl.data.framing import Framing
from asl.data.readers.decord import DecordReader
from asl.data.readers.frames import FramesReader, FramesReaderSettings
from asl.data.sampling import Sampling, Tempo

GREY = [int(level) for level in np.linspace(16, 236, 45)]  # neighbouring frames differ by 5 levels


def varying_starts_s(count: int) -> list[float]:
    """Time stamps of frames that are on display for 20, 40, 60, 130 ms in turn."""
    return [0.0, *np.cumsum(np.resize([0.02, 0.04, 0.06, 0.13], count - 1)).tolist()]


def stored(folder: Path, clip: Clip, spec: FrameSpec) -> FrameStore:
    """Store the frames of a clip."""
    store = FrameStore(folder=folder / "frames", spec=spec)
    missing = find_missing([clip], [folder / clip.path], folder=store.folder, spec=spec)
    make_missing(missing, folder=store.folder, timeout_s=60)
    return store


def written(folder: Path, rate: str, grey: Sequence[int]) -> Clip:
    """Write a clip of this frame rate. Returns its row of the manifest."""
    clip = make_clip("train", 0, 0, num_frames=len(grey))
    if rate == "varying":
        starts_s = varying_starts_s(len(grey))
        write_clip(folder / clip.path, grey=grey, starts_s=starts_s)
        return dataclasses.replace(clip, duration_s=round(starts_s[-1] + 0.04, 6))
    write_clip(folder / clip.path, grey=grey, fps=float(rate))
    return dataclasses.replace(clip, duration_s=round(len(grey) / float(rate), 6), fps=float(rate))


@pytest.mark.parametrize("rate", ["25", "29.97", "varying"])
@pytest.mark.parametrize("fps", [25.0, None], ids=["grid", "native"])
def test_both_readers_draw_the_same_frames(tmp_path: Path, rate: str, fps: float | None) -> None:
    clip = written(tmp_path, rate, GREY)
    store = stored(tmp_path, clip, FrameSpec(fps=fps))
    for pad in ("edge", "loop"):
        for long in ("uniform", "window"):
            for clip_len, stride in ((8, 2), (32, 2)):
                sampling = Sampling(fps=fps, clip_len=clip_len, frame_stride=stride, pad=pad, long=long)
                for seed in (None, 0, 1):
                    for speed in ((1.0, 1.0), (0.7, 1.4)):
                        how: dict[str, Any] = {
                            "sampling": sampling,
                            "framing": Framing(resize=[24, 30]),
                            "tempo": Tempo(speed=list(speed)),
                        }
                        first, second = (
                            read(clip, path, **how, rng=None if seed is None else np.random.default_rng(seed))
                            for read, path in (
                                (DecordReader().read, tmp_path / clip.path),
                                (FramesReader(store, timeout_s=60).read, store.path(clip)),
                            )
                        )
                        assert first.shape == second.shape == (clip_len, 24, 30, 3)
                        levels = [video.mean(axis=(1, 2, 3)) for video in (first, second)]
                        # Neighbouring frames differ by 5 levels, FFmpeg's scaler by up to 2 from ours.
                        assert np.abs(levels[0] - levels[1]).max() < 2.5


def test_a_coarser_grid_can_be_drawn_from_stored_frames(tmp_path: Path) -> None:
    clip = written(tmp_path, "29.97", GREY)
    store = stored(tmp_path, clip, FrameSpec(fps=25.0))
    how: dict[str, Any] = {"sampling": Sampling(fps=12.5, clip_len=6), "framing": Framing(resize=[24, 30])}
    first = DecordReader().read(clip, tmp_path / clip.path, **how)
    second = FramesReader(store, timeout_s=60).read(clip, store.path(clip), **how)
    assert np.abs(first.mean(axis=(1, 2, 3)) - second.mean(axis=(1, 2, 3))).max() < 2.5


def test_resizing_returns_frames_of_that_size_unchanged_and_keeps_grey() -> None:
    frames = torch.randint(0, 256, (3, 20, 30, 3), dtype=torch.uint8)
    assert resize_frames(frames, (20, 30)) is frames
    grey = resize_frames(torch.full((2, 64, 48, 3), 77, dtype=torch.uint8), (20, 30))
    assert grey.shape == (2, 20, 30, 3)
    assert (grey == 77).all()


def stored_module(data_dir: Path, folder: Path, placement: str, **settings: Any) -> ClipDataModule:
    """A data module that stores frames in ``folder``."""
    reader = FramesReaderSettings(placement=placement)
    frames = FrameSettings(short_side=32)
    return make_module(data_dir, reader=reader, frames=frames, frames_dir=folder / "frames", **settings)


def batches(module: Any, *, training: bool) -> list[dict[str, torch.Tensor]]:
    """All batches of an epoch, with their frames as ``video``."""
    module.prepare_data()
    module.setup()
    loader = module.train_dataloader() if training else module.val_dataloader()
    sampler: Any = loader.sampler
    if training:
        sampler.set_epoch(3)
    made = []
    for batch in loader:
        video = module.uint8_video(batch)
        made.append({**batch, "video": video})
    return made


@pytest.mark.parametrize("training", [True, False], ids=["train", "val"])
@pytest.mark.parametrize("size", [(20, 30), (32, 43)], ids=["scaled", "as stored"])
def test_reader_workers_and_placement_do_not_change_batches(
    tiny_data: Path, tmp_path: Path, training: bool, size: tuple[int, int]
) -> None:
    settings: dict[str, Any] = {"resize": list(size), "seed": 7, "clip_len": 5}
    device, host, workers, decord = (
        batches(module, training=training)
        for module in (
            stored_module(tiny_data, tmp_path, "device", **settings),
            stored_module(tiny_data, tmp_path, "host", **settings),
            stored_module(tiny_data, tmp_path, "host", num_workers=2, **settings),
            make_module(tiny_data, **settings),
        )
    )
    assert len(device) == len(host) == len(workers) == len(decord) > 1
    for a, b, c, d in zip(device, host, workers, decord, strict=True):
        for name in ("video", "label", "uniforms", "valid", "clean"):
            assert torch.equal(a[name], b[name]), name
            assert torch.equal(a[name], c[name]), name
            if name != "video":
                assert torch.equal(a[name], d[name]), name
        assert a["video"].shape == d["video"].shape
        assert (a["video"].float() - d["video"].float()).abs().mean() < 2  # FFmpeg's scaler


def test_frames_in_memory_need_no_workers_and_are_loaded_once(tiny_data: Path, tmp_path: Path) -> None:
    module = stored_module(tiny_data, tmp_path, "device", num_workers=2)
    module.prepare_data()
    module.setup("fit")
    assert module.num_workers == 0
    batch = next(iter(module.train_dataloader()))
    assert batch["frames"].shape == (4, 4)
    assert batch["frames"].dtype == torch.int64
    frames = module.stored_frames
    assert frames is not None
    assert frames.num_bytes == module.frames_bytes() == 24 * 12 * 20 * 30 * 3
    module.setup("test")
    assert module.stored_frames is frames


def test_frames_of_different_sizes_are_resized_into_one_tensor(tmp_path: Path) -> None:
    clips = write_dataset(tmp_path, {"train": 2, "val": 1})
    odd = dataclasses.replace(clips[0], video_id="wide", path="videos/wide.mp4")
    write_clip(tmp_path / odd.path, grey=[60] * 12, size=(96, 48))
    odd = dataclasses.replace(odd, width=96, height=48)
    module = stored_module(tmp_path, tmp_path, "device", clips=[*clips, odd], resize=[32, 43])
    module.prepare_data()
    module.setup()
    assert module.stored_frames is not None
    wide = next(i for i, clip in enumerate(module.clips) if clip.video_id == "wide")
    first = int(module.stored_frames.offsets[wide])
    assert module.stored_frames.frames[first : first + 12].float().mean() == pytest.approx(60, abs=2)


def test_stored_frames_that_were_changed_are_an_error_that_names_the_clip(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"train": 2, "val": 1})
    module = stored_module(tmp_path, tmp_path, "host")
    module.prepare_data()
    module.setup()
    clip = module.datasets["val"].clips[0]
    store = module.reader.store
    assert store is not None
    frames, times_s, _ = open_frames(store.path(clip))
    made_from = read_origin(store.path(clip))
    assert made_from is not None
    write_frames(store.path(clip), frames[:2].copy(), times_s[:2], made_from)
    with pytest.raises(ClipError, match=f"{clip.video_id}.*it has 2 frames"):
        list(module.val_dataloader())
    module.free_frames()
    with pytest.raises(ClipError, match=f"{clip.video_id}.*it has 2 frames instead of 12"):
        module.setup()
    write_frames(store.path(clip), frames[:1].copy(), times_s[:1], made_from)
    with pytest.raises(ClipError, match=f"{clip.video_id}.*it has 1 frames instead of 12"):
        FramesOnDevice(
            [clip], [store.path(clip)], [12], framing=Framing(resize=[20, 30]), device=torch.device("cpu")
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_frames_in_gpu_memory_equal_those_in_ram(tiny_data: Path, tmp_path: Path) -> None:
    from asl.data.frames.on_device import FramesOnDevice

    for size in ((20, 30), (32, 43)):
        module = stored_module(tiny_data, tmp_path, "device", resize=list(size))
        module.prepare_data()
        module.setup()
        store = module.reader.store
        assert store is not None
        assert module.stored_frames is not None
        on_gpu = FramesOnDevice(
            module.clips,
            [store.path(clip) for clip in module.clips],
            [clip.num_frames for clip in module.clips],
            framing=Framing(resize=list(size)),
            device=torch.device("cuda"),
        )
        assert torch.equal(on_gpu.frames.cpu(), module.stored_frames.frames)
