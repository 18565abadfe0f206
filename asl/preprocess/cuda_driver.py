"""The little of CUDA's driver that is needed beside DALI: the first GPU's context, and its free memory."""

from __future__ import annotations

import ctypes
from typing import Any

_SCHED_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC in cuda.h


def enter_context() -> None:
    """Make the first GPU's primary context this thread's. Threads that wait for the GPU sleep meanwhile.

    By default they spin, a core each. It holds for all that the process does with this GPU from now on.

    Raises:
        OSError: there is no driver, or no device.
    """
    cuda, device = _device()
    context = ctypes.c_void_p()
    cuda.cuDevicePrimaryCtxSetFlags_v2(device, _SCHED_BLOCKING_SYNC)  # where that fails, they spin
    _call(cuda.cuDevicePrimaryCtxRetain, ctypes.byref(context), device)
    _call(cuda.cuCtxPushCurrent_v2, context)


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
