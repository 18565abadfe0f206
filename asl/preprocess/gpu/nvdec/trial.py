"""A short trial: how many clips a second the GPUs and the cores of this machine make."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from asl.codecs.encoder import x264
from asl.codecs.frame_collector import FramesRequest
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import FrameSpec, frames_path, origin
from asl.machine import available_cores
from asl.preprocess import WORKER_MODULES
from asl.preprocess.clips.cut import make_clip
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.gpu.nvdec.accelerator import NvdecAccelerator
from asl.preprocess.sources.raw_files import probe_raw
from asl.workers import Workers

_CLIPS = 96  # for each GPU, and at least one for each core
_WIDTH, _HEIGHT, _FRAMES = 640, 480, 48
_GRAIN = 5.0  # standard deviation of the noise in grey levels, for a bit rate as that of real clips


@dataclass(frozen=True)
class Trial:
    """Clips a second, the whole way from a raw file to a proven clip with frames."""

    gpu: float  # all GPUs together
    cpu: float  # all cores together

    @property
    def is_worth_it(self) -> bool:
        """Whether the GPU is faster."""
        return self.gpu > self.cpu

    def __str__(self) -> str:
        return f"in a trial {self.gpu:.0f} clips/s, and {self.cpu:.0f} on {available_cores()} cores"


def run_trial(accelerator: NvdecAccelerator, *, timeout_s: float) -> Trial | str:
    """Make clips of a made-up video on the host and on the GPUs. Returns why that failed, if it did."""
    failed = accelerator.wait_until_ready()
    if failed:
        return failed
    try:
        with tempfile.TemporaryDirectory() as folder:
            cuts = _cuts(Path(folder), max(_CLIPS * accelerator.count, available_cores()))
            trial, are_proven = _measure(accelerator, cuts, timeout_s)
    except (OSError, VideoError, av.FFmpegError) as error:  # such as a full disk
        return f"a trial failed: {error}"
    left = dict(accelerator.left_to_host)
    accelerator.forget()
    if left or not are_proven:
        return f"the GPU left clips of a trial to the host ({', '.join(left) or 'not proven'})"
    return trial


def _measure(accelerator: NvdecAccelerator, cuts: Sequence[Cut], timeout_s: float) -> tuple[Trial, bool]:
    """The rates, and whether all clips came out."""
    cores = available_cores()
    with Workers(cores, preload=WORKER_MODULES) as host:
        list(host.run_each(make_clip, cuts[:cores], timeout_s=timeout_s))  # what is done first is slow
        started = time.perf_counter()
        list(host.run_each(make_clip, cuts[:cores], timeout_s=timeout_s))
        cpu = cores / (time.perf_counter() - started)
        started = time.perf_counter()
        results = [result for _, result in accelerator.make_clips(cuts, host, timeout_s=timeout_s)]
        gpu = len(cuts) / (time.perf_counter() - started)
    return Trial(gpu, cpu), all(isinstance(result, Proof) for result in results)


def _cuts(folder: Path, count: int) -> list[Cut]:
    source = folder / "trial.mp4"
    _write_video(source)
    raw, spec = probe_raw(source), FrameSpec()
    return [
        Cut(
            video_id=f"{index}",
            source=source,
            target=folder / f"{index}.mp4",
            thumbnails=folder / f"{index}.jpg",
            start_s=Fraction(0),
            end_s=None,
            end_tolerance_s=Fraction(1, 25),
            encoder=x264(crf=20, preset="ultrafast"),
            audio=False,
            frames=FramesRequest(
                frames_path(folder, spec, f"{index}"), spec, origin(spec, source, 0.0, None)
            ),
            raw=raw,
        )
        for index in range(count)
    ]


def _write_video(path: Path) -> None:
    """A bright disc that moves before a grainy wall, at about 2 Mbit/s."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH]
    grain = rng.normal(110, _GRAIN, (_HEIGHT + 64, _WIDTH + 64))
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for index in range(_FRAMES):
            dx, dy = rng.integers(0, 64, 2)
            distance = np.hypot(x - _WIDTH * (0.5 + 0.3 * np.sin(index / 6)), y - _HEIGHT / 2)
            picture = grain[dy : dy + _HEIGHT, dx : dx + _WIDTH] + 80 * (distance < _HEIGHT / 6)
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="gray")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
