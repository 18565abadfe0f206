"""CUDA: memory, kernels compiled at run time, and errors that say what failed."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

from asl.preprocess.gpu.cuda import Device, DeviceBuffer, GpuError, Kernel, PinnedBuffer, Stream

FILL = 'extern "C" __global__ void fill(float* out, float value) { out[threadIdx.x] = value; }'


@pytest.fixture(scope="module")
def device() -> Device:
    return Device()


@pytest.mark.gpu
def test_a_kernel_runs_in_any_thread(device: Device) -> None:
    kernel, stream = device.compile(FILL, ["fill"])["fill"], Stream(device)
    results: list[np.ndarray] = []

    def run() -> None:
        with DeviceBuffer(device, 32 * 4) as buffer:
            kernel.launch(1, 32, [buffer, np.float32(2.5)], stream)
            results.append(buffer.download(stream).view(np.float32))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results[0].tolist() == [2.5] * 32
    stream.close()


@pytest.mark.gpu
def test_memory_is_copied_to_the_device_and_back(device: Device) -> None:
    stream, data = Stream(device), np.random.default_rng(0).integers(0, 256, 5000, np.uint8)
    pinned = PinnedBuffer(device, 5000)
    with DeviceBuffer(device, 6000) as buffer:
        buffer.upload(data, stream)
        np.testing.assert_array_equal(buffer.download(stream, 5000), data)
        np.testing.assert_array_equal(buffer.download(stream, 100, into=pinned.array), data[:100])
        with pytest.raises(ValueError, match="7000"):
            buffer.upload(np.zeros(7000, np.uint8), stream)
        with pytest.raises(ValueError, match="7000"):
            buffer.download(stream, 7000)
    assert buffer.pointer == 0
    pinned.free()


@pytest.mark.gpu
def test_errors_say_what_failed(device: Device) -> None:
    with pytest.raises(GpuError, match=r'identifier "oops" is undefined') as raised:
        device.compile('extern "C" __global__ void f() { oops; }', ["f"])
    assert not raised.value.out_of_memory
    with pytest.raises(GpuError, match="cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY") as raised:
        DeviceBuffer(device, 1 << 50)
    assert raised.value.out_of_memory
    with pytest.raises(GpuError, match="cuModuleGetFunction: CUDA_ERROR_NOT_FOUND"):
        device.compile(FILL, ["empty"])
    with pytest.raises(GpuError, match="cuLaunchKernel"):
        device.compile(FILL, ["fill"])["fill"].launch(
            1, 5000, [ctypes.c_void_p(), np.float32(0)], Stream(device)
        )


@pytest.mark.gpu
def test_there_is_free_memory_and_an_architecture(device: Device) -> None:
    assert device.free_bytes() > 0
    assert device.architecture.startswith("sm_")


def test_arguments_need_a_c_type() -> None:
    class Nothing:
        handle = None

    kernel = Kernel.__new__(Kernel)
    with pytest.raises(TypeError, match="5 has no C type"):
        kernel.launch(1, 1, [5], Nothing())  # type: ignore[arg-type]
