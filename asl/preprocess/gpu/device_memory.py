"""Free memory of GPUs, by NVIDIA's management library, which needs no CUDA context."""

from __future__ import annotations

import ctypes


class _Memory(ctypes.Structure):
    """nvmlMemory_t of nvml.h, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def least_free_bytes() -> int | None:
    """Free memory in bytes of the GPU of this machine that has least; None if the library does not tell.

    All GPUs count, because the library numbers them in another order than CUDA does.
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if nvml.nvmlInit_v2():
        return None
    try:
        count, free = ctypes.c_uint(), []
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
        for index in range(count.value):
            device, memory = ctypes.c_void_p(), _Memory()
            if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
                return None
            if nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)):
                return None
            free.append(memory.free)
        return min(free, default=None)
    finally:
        nvml.nvmlShutdown()
