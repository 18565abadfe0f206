"""Calls of NVIDIA's driver and of its run-time compiler NVRTC, with errors as exceptions.

They go through ``cuda.bindings`` (package ``cuda-bindings``), which is imported with the first call. NVRTC
comes with the package ``nvidia-cuda-nvrtc``; no CUDA toolkit is needed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from asl.files import atomic_write

OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY in cuda.h


class GpuError(Exception):
    """A call of CUDA failed, or CUDA is not installed.

    Attributes:
        out_of_memory: the device or the host had too little free memory.
    """

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of ``cuda.bindings``. Returns what it gives beside the status: nothing, one or many.

    Raises:
        GpuError: it failed.
    """
    status, *results = function(*arguments)
    if status:
        raise GpuError(f"{function.__name__}: {status.name}", out_of_memory=int(status) == OUT_OF_MEMORY)
    return results[0] if len(results) == 1 else results


def status_name(status: int) -> str:
    """CUDA's name of a ``CUresult``, such as ``CUDA_ERROR_INVALID_VALUE``."""
    try:
        return str(driver().CUresult(status).name)
    except ValueError:  # of a newer driver
        return f"CUDA error {status}"


@lru_cache(maxsize=1)
def driver() -> Any:
    """The module ``cuda.bindings.driver``, initialised.

    Raises:
        GpuError: the package or NVIDIA's driver is not installed, or there is no device.
    """
    try:
        from cuda.bindings import driver as module  # type: ignore[import-untyped, import-not-found]
    except ImportError as error:
        raise GpuError(f"cuda-bindings cannot be imported ({error}): pip install cuda-bindings") from None
    try:
        call(module.cuInit, 0)
    except RuntimeError as error:
        raise GpuError(f"NVIDIA's driver cannot be loaded: {error}") from None
    return module


def load_libraries() -> None:
    """Load the driver and NVRTC.

    Raises:
        GpuError: one of them, or the package ``cuda-bindings``, is not there.
    """
    driver()
    try:
        from cuda.bindings import nvrtc  # type: ignore[import-untyped, import-not-found]

        call(nvrtc.nvrtcVersion)
    except (ImportError, RuntimeError) as error:
        raise GpuError(f"NVRTC cannot be loaded ({error}): pip install cuda-bindings[all]") from None


def cached_cubin(source: str, options: Sequence[str]) -> bytes:
    """Like :func:`compile_cubin`; what it gives is kept in ``~/.cache/asl`` (``XDG_CACHE_HOME``)."""
    key = "\0".join([source, *options, importlib.metadata.version("cuda-bindings")])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asl" / "kernels"
    path = folder / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.cubin"
    try:
        return path.read_bytes()
    except OSError:  # not there yet
        image = compile_cubin(source, options)
    with suppress(OSError), atomic_write(path) as file:  # a full disk: the next process compiles
        file.write(image)
    return image


def compile_cubin(source: str, options: Sequence[str]) -> bytes:
    """Compile CUDA C++ to machine code.

    Args:
        source: the code.
        options: options of NVRTC, among them ``--gpu-architecture=sm_XX``.

    Raises:
        GpuError: NVRTC is not installed, or the code is wrong; the message holds the compiler's log.
    """
    try:
        from cuda.bindings import nvrtc  # type: ignore[import-untyped, import-not-found]

        program = call(nvrtc.nvrtcCreateProgram, source.encode(), b"kernels.cu", 0, [], [])
    except (ImportError, RuntimeError) as error:
        raise GpuError(f"NVRTC cannot be loaded ({error}): pip install cuda-bindings[all]") from None
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        if status:
            log = bytearray(call(nvrtc.nvrtcGetProgramLogSize, program))
            call(nvrtc.nvrtcGetProgramLog, program, log)
            text = log.decode(errors="replace").strip("\0 \n")
            raise GpuError(f"nvrtcCompileProgram: {status.name}\n{text}")
        image = bytearray(call(nvrtc.nvrtcGetCUBINSize, program))
        call(nvrtc.nvrtcGetCUBIN, program, image)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return bytes(image)
