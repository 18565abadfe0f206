"""Placement: frames are kept in device memory if they fit there beside the training."""

from __future__ import annotations

import pytest
import torch
from clips import make_clip

from asl.config.setting import ConfigError
from asl.contract.frame_store import FrameSpec
from asl.data.frames import placement
from asl.data.frames.placement import choose_placement, frames_bytes, free_memory
from asl.machine import available_memory

GB = 10**9


@pytest.mark.parametrize(
    ("requested", "device", "frames", "free", "expected"),
    [
        ("auto", "cuda", 8 * GB, 80 * GB, "device"),
        ("auto", "cuda", 90 * GB, 80 * GB, "host"),
        ("auto", "cuda", 52 * GB, 80 * GB, "host"),  # 52 + 21 > 72
        ("auto", "cuda", 51 * GB, 80 * GB, "device"),
        ("host", "cuda", 1 * GB, 80 * GB, "host"),
        ("host", "cuda", 90 * GB, 80 * GB, "host"),
        ("device", "cuda", 8 * GB, 80 * GB, "device"),
        ("auto", "cpu", 2 * GB, 16 * GB, "device"),
        ("auto", "cpu", 5 * GB, 16 * GB, "host"),
        ("device", "cpu", 5 * GB, 16 * GB, "device"),
    ],
)
def test_placement_depends_on_request_device_and_memory(
    requested: str, device: str, frames: int, free: int, expected: str
) -> None:
    placement = choose_placement(requested, device_type=device, frames=frames, free=free, reserve=21 * GB)
    assert placement.where == expected
    assert "\n" not in placement.reason


def test_the_reason_states_the_sizes() -> None:
    made = choose_placement("auto", device_type="cuda", frames=8_200_000_000, free=79 * GB, reserve=21 * GB)
    assert made.reason == "in device memory (8.2 GB predicted + 21.0 GB for training, 79.0 GB free)"
    made = choose_placement("auto", device_type="cuda", frames=90 * GB, free=79 * GB, reserve=21 * GB)
    assert made.reason.startswith("on disk: too large for device memory (90.0 GB")


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_requested_device_placement_that_does_not_fit_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=r"reader\.placement=device.*reader\.placement=host"):
        choose_placement("device", device_type=device, frames=80 * GB, free=79 * GB, reserve=0)


def test_processes_on_a_cpu_share_its_memory() -> None:
    how = {"device_type": "cpu", "frames": 3 * GB, "free": 16 * GB, "reserve": 0}
    assert choose_placement("auto", **how).where == "device"  # type: ignore[arg-type]
    assert choose_placement("auto", **how, processes=2).where == "host"  # type: ignore[arg-type]


def test_frames_are_counted_after_resizing() -> None:
    clips = [make_clip("train", 0, 0, num_frames=50, fps=25.0), make_clip("val", 0, 0, num_frames=60, fps=30)]
    assert frames_bytes(clips, FrameSpec(), (20, 30)) == (50 + 50) * 20 * 30 * 3
    assert frames_bytes(clips, FrameSpec(fps=None), (20, 30)) == (50 + 60) * 20 * 30 * 3


@pytest.mark.parametrize(
    ("device", "frames", "expected"),
    [
        ("cuda", 700, "device"),  # 200 more for training: nine tenths of the memory
        ("cuda", 701, "host"),
        ("cpu", 250, "device"),  # a quarter; nothing is set aside for training
        ("cpu", 251, "host"),
    ],
)
def test_frames_may_take_nine_tenths_of_a_gpus_memory_and_a_quarter_of_the_ram(
    device: str, frames: int, expected: str
) -> None:
    chosen = choose_placement("auto", device_type=device, frames=frames, free=1000, reserve=200)
    assert chosen.where == expected


def test_frames_that_are_asked_for_in_ram_may_take_nine_tenths_of_it() -> None:
    how = {"device_type": "cpu", "free": 1000, "reserve": 10**9}
    assert choose_placement("device", frames=900, **how).where == "device"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="do not fit into RAM"):
        choose_placement("device", frames=901, **how)  # type: ignore[arg-type]


def test_the_reason_says_how_many_processes_share_the_memory() -> None:
    for processes, expected in ((1, ""), (2, ", 2 times"), (3, ", 3 times")):
        made = choose_placement(
            "auto", device_type="cpu", frames=GB, free=100 * GB, reserve=GB, processes=processes
        )
        assert made.reason == f"in RAM (1.0 GB predicted{expected}, 100.0 GB free)"
    crowded = choose_placement("auto", device_type="cpu", frames=30 * GB, free=100 * GB, reserve=GB)
    assert crowded.reason == "on disk: more than a quarter of the RAM (30.0 GB predicted, 100.0 GB free)"


def test_memory_that_torch_keeps_for_itself_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(placement, "available_memory", lambda: 7)
    assert free_memory(torch.device("cuda")) == 130
    assert free_memory(torch.device("cpu")) == 7


def test_a_machine_has_memory() -> None:
    assert available_memory() > 0
