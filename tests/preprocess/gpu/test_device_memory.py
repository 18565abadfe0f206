"""Free memory of GPUs."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from asl.preprocess.gpu import device_memory
from asl.preprocess.gpu.device_memory import least_free_bytes


def library(free: list[int], *, fails: str = "") -> Any:
    """Stands for NVIDIA's management library of a machine with these GPUs."""

    def count(pointer: Any) -> int:
        pointer._obj.value = len(free)
        return 0

    def handle(index: int, pointer: Any) -> int:
        pointer._obj.value = index + 1
        return 0

    def memory(device: ctypes.c_void_p, pointer: Any) -> int:
        assert device.value
        pointer._obj.total, pointer._obj.free = 80, free[device.value - 1]
        return 0

    functions = {
        "nvmlInit_v2": lambda: 0,
        "nvmlDeviceGetCount_v2": count,
        "nvmlDeviceGetHandleByIndex_v2": handle,
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlShutdown": lambda: 0,
    }
    if fails:
        functions[fails] = lambda *_: 999
    return SimpleNamespace(**functions)


def test_the_gpu_with_the_least_free_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library([30, 10, 20]))
    assert least_free_bytes() == 10


@pytest.mark.parametrize(
    "fails",
    ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMemoryInfo"],
)
def test_a_library_that_fails_tells_nothing(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library([30], fails=fails))
    assert least_free_bytes() is None


def test_a_machine_without_the_library_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise OSError("not there")

    monkeypatch.setattr(device_memory.ctypes, "CDLL", missing)
    assert least_free_bytes() is None


@pytest.mark.gpu
def test_a_real_gpu_has_free_memory() -> None:
    free = least_free_bytes()
    assert free is not None
    assert 0 < free < 1 << 40
