"""The calls of the CUDA driver that DALI does not offer: how threads wait for the first GPU, its memory."""

from __future__ import annotations

import ctypes
from typing import Any

_SCHED_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC in cuda.h


def block_while_waiting() -> None:
    """Let threads of this process block while they wait for the GPU. By default each spins and uses a core.

    Call it before the process first uses the GPU.

    Raises:
        OSError: there is no driver or no device.
    """
    cuda, device = _device()
    cuda.cuDevicePrimaryCtxSetFlags_v2(device, _SCHED_BLOCKING_SYNC)  # if it fails, they spin


def free_device_bytes() -> int:
    """Free memory of the first GPU in bytes.

    Raises:
        OSError: there is no driver or no device.
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
