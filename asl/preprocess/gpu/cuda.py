"""Contexts, memory, streams and run-time compiled kernels of CUDA.

A thin layer over ``cuda.bindings``, which is imported when a :class:`Device` is made. Every method makes its
device current for its own duration, so any thread may call it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.preprocess.gpu.cuda_calls import GpuError, cached_cubin, call, driver

__all__ = ["Device", "DeviceBuffer", "GpuError", "Kernel", "PinnedBuffer", "Stream"]

#: NumPy's scalar types that kernels take as arguments.
_CTYPES: dict[type, Any] = {
    np.int8: ctypes.c_int8,
    np.uint8: ctypes.c_uint8,
    np.int16: ctypes.c_int16,
    np.uint16: ctypes.c_uint16,
    np.int32: ctypes.c_int32,
    np.uint32: ctypes.c_uint32,
    np.int64: ctypes.c_int64,
    np.uint64: ctypes.c_uint64,
    np.float32: ctypes.c_float,
    np.float64: ctypes.c_double,
}

# From cuda.h.
_SCHED_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_BLOCKING_EVENT = 1 | 2  # CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING

Size = int | tuple[int, ...]


class Device:
    """A GPU with its primary context, which other libraries of the process share.

    Threads that wait for the GPU block and use no core, if the context is first used here.

    Args:
        ordinal: number of the device as CUDA counts.

    Raises:
        GpuError: ``cuda-bindings``, the driver or the device is not there.
    """

    def __init__(self, ordinal: int = 0) -> None:
        cuda = driver()
        self.ordinal = ordinal
        device = call(cuda.cuDeviceGet, ordinal)
        cuda.cuDevicePrimaryCtxSetFlags(device, _SCHED_BLOCKING_SYNC)  # if it fails, waiting threads spin
        self._current = _Current(call(cuda.cuDevicePrimaryCtxRetain, device))
        attribute = cuda.CUdevice_attribute
        major, minor = (
            call(cuda.cuDeviceGetAttribute, which, device)
            for which in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        self.architecture = f"sm_{major}{minor}"

    def current(self) -> _Current:
        """A context manager that makes the device current for the calling thread. May be nested."""
        return self._current

    def free_bytes(self) -> int:
        """Free memory of the device in bytes."""
        with self._current:
            free, _ = call(driver().cuMemGetInfo)
        return int(free)

    def download(self, pointer: int, stream: Stream, *, into: npt.NDArray[np.uint8]) -> None:
        """Copy memory of the device to the host, after all work queued on the stream. Waits for it.

        Args:
            pointer: address on the device.
            stream: where to queue the copy.
            into: contiguous, such as the array of a :class:`PinnedBuffer`; as many bytes are copied.
        """
        with self._current:
            call(driver().cuMemcpyDtoHAsync, into.ctypes.data, pointer, into.nbytes, stream.handle)
        stream.synchronize()

    def compile(self, source: str, kernels: Sequence[str], options: Sequence[str] = ()) -> dict[str, Kernel]:
        """Compile CUDA C++ for this device and load it. Returns the kernels by name.

        The machine code is kept in the user's cache folder: the compiler takes seconds.

        Args:
            source: the code.
            kernels: names of the kernels to return, declared ``extern "C"``.
            options: further options of NVRTC, such as ``--use_fast_math``.

        Raises:
            GpuError: NVRTC is not installed, or the code is wrong; the message holds the compiler's log.
        """
        image = cached_cubin(source, [f"--gpu-architecture={self.architecture}", *options])
        cuda = driver()
        with self._current:
            module = call(cuda.cuModuleLoadData, image)
            return {
                name: Kernel(self, call(cuda.cuModuleGetFunction, module, name.encode())) for name in kernels
            }


class _Current:
    """Makes a context current for the calling thread. It keeps no state, so all threads share one."""

    def __init__(self, context: Any) -> None:
        cuda = driver()
        self._context, self._push, self._pop = context, cuda.cuCtxPushCurrent, cuda.cuCtxPopCurrent

    def __enter__(self) -> None:
        call(self._push, self._context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pop()


class Kernel:
    """A function on the device, made by :meth:`Device.compile`."""

    def __init__(self, device: Device, function: Any) -> None:
        self._device, self._function, self._launch = device, function, driver().cuLaunchKernel

    def launch(
        self, grid: Size, block: Size, arguments: Sequence[Any], stream: Stream, *, shared_bytes: int = 0
    ) -> None:
        """Queue the kernel on a stream.

        Args:
            grid: number of blocks along x, y and z; those left out are 1.
            block: number of threads in a block, likewise.
            arguments: ctypes or NumPy scalars of exactly the kernel's types, and a :class:`DeviceBuffer` for
                a pointer.
            stream: where to queue it.
            shared_bytes: dynamic shared memory of a block.

        Raises:
            GpuError: it cannot be launched, or an earlier kernel failed.
            TypeError: an argument has no definite C type, such as an ``int`` of Python.
        """
        prepared = self.prepare(grid, block, arguments, shared_bytes=shared_bytes)
        with self._device.current():
            prepared.launch(stream)

    def prepare(
        self, grid: Size, block: Size, arguments: Sequence[Any], *, shared_bytes: int = 0
    ) -> PreparedKernel:
        """The kernel with its arguments, to be launched many times, see :meth:`launch`."""
        values = [_c_value(argument) for argument in arguments]
        sizes = *_three(grid), *_three(block), shared_bytes
        return PreparedKernel(self._launch, self._function, sizes, values)


class PreparedKernel:
    """A kernel and its arguments. Use :meth:`Kernel.prepare`.

    Attributes:
        values: the arguments as ctypes scalars, whose ``value`` may be changed between launches.
    """

    def __init__(self, launch: Any, function: Any, sizes: tuple[int, ...], values: Sequence[Any]) -> None:
        self.values = values
        self._pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        self._launch, self._head, self._tail = (
            launch,
            (function, *sizes),
            (ctypes.addressof(self._pointers), 0),
        )

    def launch(self, stream: Stream) -> None:
        """Queue it on a stream. The device must be current.

        Raises:
            GpuError: it cannot be launched, or an earlier kernel failed.
        """
        call(self._launch, *self._head, stream.handle, *self._tail)


class Stream:
    """A queue of work for the device, independent of the default stream.

    Attributes:
        handle: the ``CUstream``; ``int(handle)`` is its address.
    """

    def __init__(self, device: Device) -> None:
        self._device, cuda = device, driver()
        with device.current():
            self.handle = call(cuda.cuStreamCreate, _NON_BLOCKING)
            self._event = call(cuda.cuEventCreate, _BLOCKING_EVENT)

    def synchronize(self) -> None:
        """Wait, without using a core, until all work queued so far is done.

        Raises:
            GpuError: some of the work failed.
        """
        cuda = driver()
        with self._device.current():
            call(cuda.cuEventRecord, self._event, self.handle)
            call(cuda.cuEventSynchronize, self._event)

    def close(self) -> None:
        """Free the stream. Work that is queued still runs."""
        cuda = driver()
        with self._device.current():
            cuda.cuStreamDestroy(self.handle)
            cuda.cuEventDestroy(self._event)


class DeviceBuffer:
    """Memory of the device, uninitialised.

    Attributes:
        nbytes: size in bytes.
        pointer: address on the device; 0 once it is freed.

    Raises:
        GpuError: there is too little free memory (``out_of_memory``).
    """

    def __init__(self, device: Device, nbytes: int) -> None:
        self._device, self.nbytes = device, nbytes
        with device.current():
            self.pointer = int(call(driver().cuMemAlloc, max(nbytes, 1)))

    def __enter__(self) -> DeviceBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()

    def upload(self, array: npt.NDArray[Any], stream: Stream) -> None:
        """Queue a copy of a contiguous array to the start of the buffer.

        An array in a :class:`PinnedBuffer` must not change until the copy is done. Others are read before
        the method returns.

        Raises:
            ValueError: the array is not contiguous, or larger than the buffer.
        """
        if not array.flags.c_contiguous or array.nbytes > self.nbytes:
            raise ValueError(f"{array.nbytes} bytes cannot be copied to a buffer of {self.nbytes} bytes")
        with self._device.current():
            call(driver().cuMemcpyHtoDAsync, self.pointer, array.ctypes.data, array.nbytes, stream.handle)

    def download(
        self, stream: Stream, nbytes: int | None = None, *, into: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[np.uint8]:
        """The first bytes of the buffer, (nbytes,) uint8, after all work queued on the stream.

        Args:
            stream: where to queue the copy; the method waits for it.
            nbytes: number of bytes; None: the whole buffer.
            into: where to copy to, such as the array of a :class:`PinnedBuffer`; a view of it is returned.

        Raises:
            ValueError: the buffer or ``into`` is too small.
        """
        count = self.nbytes if nbytes is None else nbytes
        target = np.empty(count, np.uint8) if into is None else into[:count]
        if count > self.nbytes or target.nbytes != count:
            raise ValueError(f"{count} bytes are more than the buffers hold")
        with self._device.current():
            call(driver().cuMemcpyDtoHAsync, target.ctypes.data, self.pointer, count, stream.handle)
            stream.synchronize()
        return target

    def free(self) -> None:
        """Free the memory once the device has done all its work. Safe to call twice."""
        if self.pointer:
            with self._device.current():
                driver().cuMemFree(self.pointer)
            self.pointer = 0


class PinnedBuffer:
    """Page-locked memory of the host, which copies to and from the device do without a detour.

    Attributes:
        array: (nbytes,) uint8; not to be used after :meth:`free`.
    """

    def __init__(self, device: Device, nbytes: int) -> None:
        self._device = device
        with device.current():
            self._pointer = int(call(driver().cuMemHostAlloc, max(nbytes, 1), 0))
        memory = (ctypes.c_uint8 * nbytes).from_address(self._pointer)
        self.array: npt.NDArray[np.uint8] = np.ctypeslib.as_array(memory)

    def free(self) -> None:
        """Free the memory. Safe to call twice."""
        if self._pointer:
            with self._device.current():
                driver().cuMemFreeHost(self._pointer)
            self._pointer = 0


def _c_value(argument: Any) -> Any:
    if isinstance(argument, ctypes._SimpleCData | ctypes.Structure):
        return argument
    if isinstance(argument, DeviceBuffer):
        return ctypes.c_void_p(argument.pointer)
    kind = _CTYPES.get(type(argument))
    if kind is None:
        raise TypeError(f"a kernel's argument {argument!r} has no C type: use ctypes or NumPy scalars")
    return kind(argument.item())


def _three(size: Size) -> tuple[int, ...]:
    return (size, 1, 1) if isinstance(size, int) else (*size, 1, 1)[:3]
