"""The kernels give what the host makes of a frame: equal grey cells, and nearly equal small RGB pictures."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from host_build import build
from hypothesis import given
from hypothesis import strategies as st

from asl.codecs.pictures import RgbResizer, grey_cells
from asl.preprocess.gpu.nvdec.pictures import (
    KERNELS,
    SOURCE,
    Launch,
    Nv12Picture,
    color_conversion,
    grey_arguments,
    rgb_arguments,
)

Array = npt.NDArray[np.uint8]
Planes = tuple[Array, Array, Array]  # Y, Cb, Cr

#: Lets each thread of a launch run to its end before the next starts.
_HOST_LAUNCH = """
template <class... Parameters, class... Arguments>
void run(void (*kernel)(Parameters...), const int *sizes, Arguments... arguments) {
    blockDim = {sizes[2], sizes[3]};
    for (blockIdx.y = 0; blockIdx.y < sizes[1]; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < sizes[0]; blockIdx.x++)
            for (threadIdx.y = 0; threadIdx.y < sizes[3]; threadIdx.y++)
                for (threadIdx.x = 0; threadIdx.x < sizes[2]; threadIdx.x++) kernel(arguments...);
}
extern "C" void run_rgb_resize(const int *sizes, const u8 *surface, int pitch, i64 chroma_offset, int x,
                               int y, int width, int height, u8 *out, int out_width, int out_height,
                               float a, float b, float c, float d, float e, float f, float g, float h) {
    run(rgb_resize, sizes, surface, pitch, chroma_offset, x, y, width, height, out, out_width, out_height,
        a, b, c, d, e, f, g, h);
}
extern "C" void run_grey_cells(const int *sizes, const u8 *surface, int pitch, int x, int y, int width,
                               int height, u8 *out, int side, int full_range) {
    run(grey_cells, sizes, surface, pitch, x, y, width, height, out, side, full_range);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(SOURCE + _HOST_LAUNCH, tmp_path_factory.mktemp("kernels"))


def launch(library: ctypes.CDLL, kernel: str, what: Launch, block: tuple[int, int] | None = None) -> None:
    sizes = (ctypes.c_int * 4)(*what.grid, *(block or what.block))
    library[f"run_{kernel}"](sizes, *what.arguments)


def made_planes(width: int, height: int, noise: float, *, low: int = 16, high: int = 235) -> Planes:
    """Waves and edges in luma and chroma, with noise of a standard deviation of ``noise`` levels."""
    rng = np.random.default_rng(width)

    def plane(rows: int, columns: int, waves: float) -> Array:
        y, x = np.mgrid[:rows, :columns]
        level = 128 + 60 * np.sin(9 * waves * x / columns + 3 * y / rows) + 40 * np.cos(7 * waves * y / rows)
        level += 25 * (-1.0) ** (8 * x // columns + 6 * y // rows) + rng.normal(0, noise, (rows, columns))
        return np.clip(level, low, high).astype(np.uint8)

    return plane(height, width, 1), plane(height // 2, width // 2, 1.3), plane(height // 2, width // 2, 0.7)


def on_surface(planes: Planes, x: int = 0, y: int = 0) -> tuple[Array, dict[str, int]]:
    """The bytes of a surface with noise around the picture, and the arguments of :class:`Nv12Picture`."""
    height, width = planes[0].shape
    pitch, rows = (x + width + 31) // 16 * 16, (y + height + 17) // 2 * 2
    surface = np.random.default_rng(1).integers(0, 256, (rows + rows // 2, pitch), np.uint8)
    surface[y : y + height, x : x + width] = planes[0]
    chroma = surface[rows + y // 2 :][: height // 2, x : x + width]
    chroma[:, 0::2], chroma[:, 1::2] = planes[1:]
    return surface, {
        "pitch": pitch, "chroma_offset": rows * pitch, "width": width, "height": height, "x": x, "y": y
    }  # fmt: skip


def resize_on_host(
    planes: Planes, size: tuple[int, int], *, matrix: int = 2, full_range: bool = False
) -> Array:
    height, width = planes[0].shape
    flat = np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width)
    frame = VideoFrame.from_ndarray(flat, format="yuv420p")
    frame.colorspace, frame.color_range = matrix, 2 if full_range else 1
    return RgbResizer(size[1], size[0])(frame)


def resize_with_kernel(
    library: ctypes.CDLL, planes: Planes, size: tuple[int, int], x: int = 0, y: int = 0, **settings: Any
) -> Array:
    surface, layout = on_surface(planes, x, y)
    out = np.zeros((*size, 3), np.uint8)
    picture = Nv12Picture(pointer=surface.ctypes.data, **layout)
    settings.setdefault("chroma_location", 1)  # a frame made from an array has chroma in the centre
    launch(library, "rgb_resize", rgb_arguments(picture, out.ctypes.data, size, **settings))
    return out


def mean_difference(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("noise", [0, 10, 60])
@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((320, 240), (128, 171)),
        ((640, 480), (128, 171)),
        ((1280, 720), (128, 228)),
        ((480, 854), (228, 128)),
        ((640, 480), (120, 160)),
        ((176, 132), (128, 171)),
        ((320, 240), (225, 300)),
        ((320, 240), (240, 320)),
        ((128, 128), (128, 128)),
        ((96, 64), (107, 160)),
    ],
    ids=str,
)
def test_small_pictures_are_those_of_the_host(
    library: ctypes.CDLL, source: tuple[int, int], size: tuple[int, int], noise: float
) -> None:
    planes = made_planes(*source, noise)
    difference = mean_difference(resize_with_kernel(library, planes, size), resize_on_host(planes, size))
    assert difference < 0.25


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 2, 4, 5, 6, 7, 9])
def test_colours_are_converted_with_the_matrix_of_the_file(
    library: ctypes.CDLL, matrix: int, full_range: bool
) -> None:
    planes = made_planes(320, 240, 10, low=0 if full_range else 16, high=255 if full_range else 235)
    settings = {"matrix": matrix, "full_range": full_range}
    small = resize_with_kernel(library, planes, (128, 171), **settings)
    assert mean_difference(small, resize_on_host(planes, (128, 171), **settings)) < 0.25


@pytest.mark.parametrize("full_range", [False, True])
def test_greys_have_no_colour_and_reach_both_ends(full_range: bool) -> None:
    conversion = color_conversion(2, full_range=full_range)
    black, white = (0, 255) if full_range else (16, 235)
    assert conversion.luma_gain * (black - conversion.luma_offset) == 0
    assert conversion.luma_gain * (white - conversion.luma_offset) == pytest.approx(255)
    # Green is what remains: its share of the luma times what chroma adds to it cancels red and blue out.
    assert 0.587 * conversion.cr_to_green == pytest.approx(-0.299 * conversion.cr_to_red)
    assert 0.587 * conversion.cb_to_green == pytest.approx(-0.114 * conversion.cb_to_blue)


@pytest.mark.parametrize(("x", "y"), [(2, 0), (0, 8), (6, 10)])
def test_nothing_beside_the_picture_is_read(library: ctypes.CDLL, x: int, y: int) -> None:
    planes = made_planes(176, 132, 10)
    whole = resize_with_kernel(library, planes, (96, 128))
    assert np.array_equal(resize_with_kernel(library, planes, (96, 128), x, y), whole)


@pytest.mark.parametrize("location", range(6))
def test_chroma_is_taken_from_where_it_lies(library: ctypes.CDLL, location: int) -> None:
    """Chroma that rises evenly has the value of its place: a shifted place adds to it."""
    width, height = 64, 48
    y, x = np.mgrid[: height // 2, : width // 2]
    shift_x = {0: 0.25, 2: 0.25, 4: 0.25}.get(location, 0.0)
    shift_y = {2: 0.25, 3: 0.25, 4: -0.25, 5: -0.25}.get(location, 0.0)
    planes = (
        np.full((height, width), 128, np.uint8),
        (60 + 4 * x).astype(np.uint8),
        (60 + 4 * y).astype(np.uint8),
    )
    small = resize_with_kernel(library, planes, (height, width), chroma_location=location, full_range=True)
    conversion = color_conversion(2, full_range=True)
    places = np.arange(20, 28)  # far from the border
    cb = np.floor(60 + 4 * ((places + 0.5) / 2 - 0.5 + shift_x) + 0.5)
    cr = np.floor(60 + 4 * ((places + 0.5) / 2 - 0.5 + shift_y) + 0.5)
    blue, red = small[0, places, 2], small[places, 0, 0]
    assert np.array_equal(blue, np.floor(128 + conversion.cb_to_blue * (cb - 128) + 0.5))
    assert np.array_equal(red, np.floor(128 + conversion.cr_to_red * (cr - 128) + 0.5))


@given(
    width=st.integers(1, 100),
    height=st.integers(1, 100),
    x=st.integers(0, 8).map(lambda n: 2 * n),
    y=st.integers(0, 8).map(lambda n: 2 * n),
    side=st.sampled_from([1, 5, 16]),
    full_range=st.booleans(),
    seed=st.integers(0, 99),
)
def test_grey_cells_are_those_of_the_host(
    library: ctypes.CDLL, width: int, height: int, x: int, y: int, side: int, full_range: bool, seed: int
) -> None:
    surface = np.random.default_rng(seed).integers(0, 256, (y + height, x + width + 5), np.uint8)
    layout = {"pitch": surface.shape[1], "chroma_offset": 0, "width": width, "height": height, "x": x, "y": y}
    picture = Nv12Picture(pointer=surface.ctypes.data, **layout)
    out = np.zeros((side, side), np.uint8)
    what = grey_arguments(picture, out.ctypes.data, side, full_range=full_range)
    launch(library, "grey_cells", what, block=(1, 1))
    luma = surface[y : y + height, x : x + width]
    assert np.array_equal(out, grey_cells(luma, side, full_range=full_range))


@pytest.mark.parametrize("size", [(1280, 720), (4096, 4096), (8192, 4320)], ids=str)
@pytest.mark.parametrize("level", [0, 16, 128, 235, 255])
def test_grey_cells_of_large_pictures_do_not_overflow(
    library: ctypes.CDLL, size: tuple[int, int], level: int
) -> None:
    luma = np.full((size[1], size[0]), level, np.uint8)
    picture = Nv12Picture(
        pointer=luma.ctypes.data, pitch=size[0], chroma_offset=0, width=size[0], height=size[1]
    )
    out = np.zeros((16, 16), np.uint8)
    for full_range in (False, True):
        what = grey_arguments(picture, out.ctypes.data, 16, full_range=full_range)
        launch(library, "grey_cells", what, block=(1, 1))
        assert np.array_equal(out, grey_cells(luma, 16, full_range=full_range))


def test_impossible_pictures_are_refused() -> None:
    layout = {"pointer": 1, "pitch": 64, "chroma_offset": 64 * 48, "width": 64, "height": 48}
    for wrong in ({"width": 0}, {"height": -2}, {"x": 1}, {"y": 3}, {"x": -2}, {"x": 2}):
        with pytest.raises(ValueError, match=r"picture|columns"):
            Nv12Picture(**{**layout, **wrong})
    picture = Nv12Picture(**layout)
    with pytest.raises(ValueError, match="scaled to 0x48"):
        rgb_arguments(picture, 1, (48, 0))
    with pytest.raises(ValueError, match="0x0 cells"):
        grey_arguments(picture, 1, 0)


@pytest.mark.gpu
@pytest.mark.parametrize("source", [(320, 240), (638, 358), (1280, 720)], ids=str)
def test_the_gpu_makes_the_same_pictures(source: tuple[int, int]) -> None:
    from asl.preprocess.gpu.cuda import Device, DeviceBuffer, Stream

    device = Device(0)
    kernels, stream = device.compile(SOURCE, KERNELS), Stream(device)
    planes, size = made_planes(*source, 10), (128, 171)
    surface, layout = on_surface(planes, x=2, y=4)
    with DeviceBuffer(device, surface.nbytes) as memory, DeviceBuffer(device, 128 * 171 * 3) as out:
        memory.upload(surface, stream)
        picture = Nv12Picture(pointer=memory.pointer, **layout)
        kernels["rgb_resize"].launch(*rgb_arguments(picture, out.pointer, size, chroma_location=1), stream)
        small = out.download(stream, 128 * 171 * 3).reshape(*size, 3)
        assert mean_difference(small, resize_on_host(planes, size)) < 0.25
        for side in (1, 16):
            for full_range in (False, True):
                what = grey_arguments(picture, out.pointer, side, full_range=full_range)
                kernels["grey_cells"].launch(*what, stream)
                cells = out.download(stream, side * side).reshape(side, side)
                assert np.array_equal(cells, grey_cells(planes[0], side, full_range=full_range))
    stream.close()
