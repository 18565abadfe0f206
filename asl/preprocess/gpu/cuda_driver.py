"""The little of CUDA's driver that is needed beside DALI: how to wait for the first GPU, and its memory."""

from __future__ import annotations

import ctypes
from typing import Any

_SCHED_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC in cuda.h


def wait_asleep() -> None:
    """Threads of this process that wait for the GPU sleep, from now on; by default they spin, a core each.

    Raises:
        OSError: there is no driver, or no device.
    """
    cuda, device = _device()
    cuda.cuDevicePrimaryCtxSetFlags_v2(device, _SCHED_BLOCKING_SYNC)  # where that fails, they spin


def free_device_bytes() -> int:
    """Free memory of the first GPU, by its driver.

    Raises:
        OSError: there is no driver, or no device.
    """
    cuda, device = _device()
    context = ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _call(cuda.cuDevicePrimaryCtxRetain, ctypes.byref(context), device)
    _call(cuda.cuCtxPushCurrent_v2, context)
    try:
        _call(cuda.cuMemGetInfo_v2, ctypes.byref(free), ctypes.byref(total))
    finally:
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
    return int(free.value)


def _device() -> tuple[Any, ctypes.c_int]:
    cuda, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    _call(cuda.cuInit, 0)
    _call(cuda.cuDeviceGet, ctypes.byref(device), 0)
    return cuda, device


def _call(function: Any, *arguments: Any) -> None:
    failed = function(*arguments)
    if failed:
        raise OSError(failed, f"{function.__name__} fails with CUDA error {failed}")
