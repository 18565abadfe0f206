"""NVDEC: pictures equal the software decoder's bit for bit, and no clip harms the next one."""

from __future__ import annotations

import ctypes
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from asl.preprocess.gpu.cuda import Device, DeviceBuffer, GpuError
from asl.preprocess.gpu.nvdec import cuvid
from asl.preprocess.gpu.nvdec.decoder import DecodedClip, MappedPicture, NvdecError, NvDecoder
from asl.preprocess.gpu.nvdec.session import CuvidError
from asl.preprocess.gpu.nvdec.stream_format import stream_format

COPY = r"""
extern "C" __global__ void copy(const unsigned char* luma, long long chroma, int pitch, int width, int height,
                                unsigned char* out, long long start) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= width) return;
    const unsigned char* row = y < height ? luma + (long long)y * pitch
                                          : luma + chroma + (long long)(y - height) * pitch;
    out[start + (long long)y * width + x] = row[x];
}

extern "C" __global__ void wait(long long cycles) {
    for (long long begun = clock64(); clock64() - begun < cycles;) {}
}
"""

# Of a C compiler, from the headers of NVIDIA's Video Codec SDK 9.0 and 11.1: sizes, and offsets of fields.
SIZES = {
    cuvid.CUVIDDECODECAPS: 88,
    cuvid.CUVIDDECODECREATEINFO: 176,
    cuvid.CUVIDRECONFIGUREDECODERINFO: 128,
    cuvid.CUVIDPROCPARAMS: 264,
    cuvid.CUVIDGETDECODESTATUS: 192,
    cuvid.CUVIDEOFORMAT: 64,
    cuvid.CUVIDPARSERDISPINFO: 24,
    cuvid.CUVIDPARSERPARAMS: 136,
    cuvid.CUVIDSOURCEDATAPACKET: 32,
}
OFFSETS = [
    (cuvid.CUVIDDECODECAPS, "nMaxMBCount", 36),
    (cuvid.CUVIDDECODECAPS, "nMinHeight", 42),
    (cuvid.CUVIDDECODECREATEINFO, "display_area", 80),
    (cuvid.CUVIDDECODECREATEINFO, "ulNumOutputSurfaces", 112),
    (cuvid.CUVIDDECODECREATEINFO, "target_rect", 128),
    (cuvid.CUVIDRECONFIGUREDECODERINFO, "display_area", 68),
    (cuvid.CUVIDPICPARAMS, "CurrPicIdx", 8),
    (cuvid.CUVIDPICPARAMS, "field_pic_flag", 12),
    (cuvid.CUVIDPROCPARAMS, "output_stream", 56),
    (cuvid.CUVIDEOFORMAT, "min_num_decode_surfaces", 15),
    (cuvid.CUVIDEOFORMAT, "display_area", 24),
    (cuvid.CUVIDEOFORMAT, "color_primaries", 57),
    (cuvid.CUVIDEOFORMAT, "matrix_coefficients", 59),
    (cuvid.CUVIDPARSERDISPINFO, "timestamp", 16),
    (cuvid.CUVIDPARSERPARAMS, "pUserData", 40),
    (cuvid.CUVIDPARSERPARAMS, "pfnDisplayPicture", 64),
    (cuvid.CUVIDPARSERPARAMS, "pExtVideoInfo", 128),
    (cuvid.CUVIDSOURCEDATAPACKET, "timestamp", 24),
]


@dataclass(frozen=True)
class Clip:
    """Access units in decoding order with their times, and what the software decoder makes of them."""

    packets: list[bytes]
    times: list[int]
    pictures: list[np.ndarray]  # (3 * height / 2, width), NV12


def make_clip(
    width: int,
    height: int,
    frames: int = 20,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    **options: str,
) -> Clip:
    """Encode moving, noisy pictures."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.framerate, context.thread_count = Fraction(1, 25), Fraction(25), 1
    context.options = {"preset": "veryfast", **options}
    rng = np.random.default_rng(width + frames)
    blocks = (height + frames) // 8 + 1, (width + 2 * frames) // 8 + 1, 3
    wall = rng.integers(0, 256, blocks, np.uint8).repeat(8, 0).repeat(8, 1)
    packets = []
    for number in range(frames):
        picture = wall[number : number + height, 2 * number : 2 * number + width].copy()
        picture[: height // 4] ^= rng.integers(0, 32, (height // 4, width, 3), np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    data = [bytes(packet) for packet in packets]
    reader = av.CodecContext.create({"libx265": "hevc"}.get(codec, "h264"), "r")
    decoded = [frame for each in data for frame in reader.decode(av.Packet(each))] + reader.decode(None)
    pictures = [nv12(frame) for frame in decoded] if pix_fmt == "yuv420p" else []
    return Clip(data, [packet.pts for packet in packets], pictures)


def nv12(frame: Any) -> np.ndarray:
    planes = [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]
    chroma = np.stack(planes[1:], axis=2).reshape(planes[1].shape[0], -1)
    return np.concatenate([planes[0], chroma])


class Rig:
    """One decoder for many clips, which downloads what it decodes."""

    def __init__(self) -> None:
        self.device = Device()
        self.kernels = self.device.compile(COPY, ["copy", "wait"])
        self.decoder = NvDecoder(self.device)

    def decode(
        self,
        packets: Sequence[bytes],
        codec: str = "h264",
        wanted: Callable[[int], bool] | None = None,
        wait_cycles: int = 0,
    ) -> tuple[DecodedClip, dict[int, np.ndarray], list[MappedPicture]]:
        """The result, wanted pictures by display index, and what the callback was given."""
        mapped: list[MappedPicture] = []
        stream = self.decoder.stream
        with DeviceBuffer(self.device, 150_000_000) as buffer:

            def on_picture(picture: MappedPicture) -> None:
                mapped.append(picture)
                width, height = picture.width, picture.height
                rows = height + height // 2
                arguments = [
                    ctypes.c_void_p(picture.pointer),
                    np.int64(picture.chroma_offset),
                    np.int32(picture.pitch),
                    np.int32(width),
                    np.int32(height),
                    buffer,
                    np.int64((len(mapped) - 1) * rows * width),
                ]
                if wait_cycles:
                    self.kernels["wait"].launch(1, 1, [np.int64(wait_cycles)], stream)
                self.kernels["copy"].launch(((width + 255) // 256, rows), 256, arguments, stream)

            clip = self.decoder.decode(packets, codec, on_picture, wanted=wanted)
            if not mapped:
                return clip, {}, mapped
            rows, width = mapped[0].height * 3 // 2, mapped[0].width
            data = buffer.download(stream, len(mapped) * rows * width).reshape(len(mapped), rows, width)
        return clip, {picture.index: data[k] for k, picture in enumerate(mapped)}, mapped

    def check(self, clip: Clip, codec: str = "h264") -> DecodedClip:
        """Decode a sound clip and compare everything."""
        found, pictures, mapped = self.decode(clip.packets, codec)
        height, width = clip.pictures[0].shape[0] * 2 // 3, clip.pictures[0].shape[1]
        assert (found.num_pictures, found.bad_pictures) == (len(clip.pictures), ())
        assert (found.width, found.height) == (width, height)
        assert list(pictures) == list(range(len(clip.pictures)))
        for index, expected in enumerate(clip.pictures):
            np.testing.assert_array_equal(pictures[index], expected, err_msg=f"picture {index}")
        assert [clip.times[picture.decoded_as] for picture in mapped] == sorted(clip.times)
        return found


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.decoder.close()


@pytest.fixture(scope="module")
def sound() -> Clip:
    return make_clip(320, 240)


@pytest.mark.parametrize(
    ("structure", "size"), SIZES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_structures_have_the_size_that_the_driver_expects(structure: Any, size: int) -> None:
    assert ctypes.sizeof(structure) == size


@pytest.mark.parametrize(("structure", "field", "offset"), OFFSETS)
def test_fields_lie_where_the_driver_expects_them(structure: Any, field: str, offset: int) -> None:
    assert getattr(structure, field).offset == offset


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuvid, "LIBRARY", "libnvcuvid-none.so.1")
    cuvid.library.cache_clear()
    try:
        with pytest.raises(GpuError, match=r"libnvcuvid-none.so.1.*NVIDIA_DRIVER_CAPABILITIES"):
            cuvid.library()
    finally:
        cuvid.library.cache_clear()


def test_errors_can_be_sent_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(CuvidError("cuvidCreateDecoder: CUDA_ERROR_OUT_OF_MEMORY", 2)))
    assert (error.status, error.out_of_memory) == (2, True)
    assert pickle.loads(pickle.dumps(NvdecError("is interlaced"))).reason == "is interlaced"


def make_format(**changes: int) -> Any:
    plain = {
        "chroma_format": cuvid.CHROMA_420,
        "progressive_sequence": 1,
        "min_num_decode_surfaces": 5,
        "coded_width": 336,
        "coded_height": 256,
        "display_area": (0, 2, 322, 244),
        "matrix_coefficients": 6,
        "video_full_range_flag": 1,
    }
    return cuvid.CUVIDEOFORMAT(**{**plain, **changes})


CAPS = cuvid.CUVIDDECODECAPS(
    bIsSupported=1, nMinWidth=48, nMinHeight=16, nMaxWidth=4096, nMaxHeight=4096, nMaxMBCount=65536
)


def test_the_format_holds_crop_and_colours() -> None:
    found = stream_format(make_format(), CAPS)
    assert (found.left, found.top, found.width, found.height) == (0, 2, 322, 242)
    assert (found.matrix_coefficients, found.full_range) == (6, True)
    assert found.surfaces > 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chroma_format": 3}, "4:2:0"),
        ({"bit_depth_luma_minus8": 2}, "8 bits"),
        ({"progressive_sequence": 0}, "interlaced"),
        ({"coded_width": 4112}, r"4112x256; this GPU decodes 48x16 to 4096x4096"),
        ({"coded_height": 8}, "336x8"),
    ],
)
def test_what_nvdec_cannot_decode_is_refused(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(NvdecError, match=reason):
        stream_format(make_format(**changes), CAPS)


@pytest.mark.gpu
def test_clips_of_many_sizes_are_bit_exact_through_one_decoder(rig: Rig) -> None:
    sizes = [(320, 240), (1280, 720), (640, 480), (322, 242), (1920, 1080), (64, 48), (320, 240), (320, 240)]
    for width, height in sizes:
        rig.check(make_clip(width, height))


@pytest.mark.gpu
def test_a_session_made_ahead_decodes_the_first_clip(sound: Clip) -> None:
    fresh = Rig()
    with fresh.decoder as decoder:
        decoder.warm_up()
        session = decoder._session
        fresh.check(sound)
        assert decoder._session is session


@pytest.mark.gpu
def test_larger_pictures_get_a_larger_session(rig: Rig) -> None:
    for size in ((240, 320), (1080, 1920), (2048, 1152), (240, 320)):
        rig.check(make_clip(*size, frames=6))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options",
    [
        {"bf": "3", "x264-params": "b-pyramid=normal:ref=4"},
        {"bf": "0"},
        {"refs": "16", "bf": "8", "preset": "slow"},
        {"g": "1"},
        {"tune": "zerolatency"},
        {"x264-params": "slices=4:cabac=0:8x8dct=0"},
        {"x264-params": "open-gop=1:keyint=8"},
        {"profile": "baseline"},
    ],
    ids=str,
)
def test_ways_to_encode_are_bit_exact(rig: Rig, options: dict[str, str]) -> None:
    rig.check(make_clip(320, 240, 40, **options))


@pytest.mark.gpu
@pytest.mark.parametrize("frames", [1, 2, 3, 5, 150])
def test_no_picture_is_lost_at_the_end(rig: Rig, frames: int) -> None:
    rig.check(make_clip(176, 144, frames))


@pytest.mark.gpu
def test_hevc_and_h264_alternate(rig: Rig, sound: Clip) -> None:
    if "libx265" not in av.codecs_available:
        pytest.skip("PyAV has no libx265")
    rig.check(make_clip(320, 240, codec="libx265", **{"x265-params": "log-level=none"}), "hevc")
    rig.check(sound)


@pytest.mark.gpu
def test_only_wanted_pictures_are_mapped_but_all_are_checked(rig: Rig, sound: Clip) -> None:
    clip, pictures, _ = rig.decode(sound.packets, wanted={0, 7, 8, 19}.__contains__)
    assert (clip.num_pictures, clip.bad_pictures) == (20, ())
    assert list(pictures) == [0, 7, 8, 19]
    assert all(np.array_equal(picture, sound.pictures[index]) for index, picture in pictures.items())


@pytest.mark.gpu
def test_pictures_stay_until_the_work_queued_for_them_is_done(rig: Rig, sound: Clip) -> None:
    _, pictures, _ = rig.decode(sound.packets, wait_cycles=8_000_000)  # some milliseconds
    assert all(np.array_equal(picture, sound.pictures[index]) for index, picture in pictures.items())


@pytest.mark.gpu
@pytest.mark.parametrize("wanted", [None, lambda index: False], ids=["all mapped", "none mapped"])
def test_pictures_with_errors_are_reported(rig: Rig, sound: Clip, wanted: Any) -> None:
    packets = [*sound.packets[:5], *damages(sound.packets)["holes"][5:]]
    clip, _, _ = rig.decode(packets, wanted=wanted)
    assert clip.bad_pictures
    rig.check(sound)


def damages(packets: Sequence[bytes]) -> dict[str, list[bytes]]:
    rng = np.random.default_rng(0)
    noise = [bytes(rng.integers(0, 256, 3000, np.uint8)) for _ in range(5)]
    holes = [bytearray(packet) for packet in packets]
    for hole in holes:
        third = len(hole) // 3
        hole[third : 2 * third] = bytes(byte ^ 0x55 for byte in hole[third : 2 * third])
    return {
        "cut": [*packets[:10], packets[10][: len(packets[10]) // 2]],
        "no end": list(packets[:10]),
        "no start": list(packets[5:]),
        "a gap": [*packets[:5], *packets[9:]],
        "nothing": [],
        "empty": [b"", b""],
        "noise": noise,
        "noise within": [*packets[:5], *noise, *packets[5:]],
        "holes": [bytes(hole) for hole in holes],
        "no start codes": [packet[5:] for packet in packets],
        "twice": [*packets, *packets],
        "parameters alone": [packets[0][:40]],
    }


@pytest.mark.gpu
@pytest.mark.parametrize("name", damages([b"x" * 50] * 20))
def test_damaged_clips_do_not_harm_the_next(rig: Rig, sound: Clip, name: str) -> None:
    with suppress(NvdecError):
        rig.decode(damages(sound.packets)[name])
    rig.check(sound)


@pytest.mark.gpu
def test_a_change_of_size_within_a_clip_is_refused(rig: Rig, sound: Clip) -> None:
    with pytest.raises(NvdecError, match="changes"):
        rig.decode([*sound.packets, *make_clip(640, 480).packets])
    rig.check(sound)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"pix_fmt": "yuv444p"}, "4:2:0"),
        ({"pix_fmt": "yuv420p10le"}, "8 bits"),
        ({"x264-params": "interlaced=1"}, "interlaced"),
    ],
    ids=str,
)
def test_streams_that_nvdec_cannot_decode_are_refused(
    rig: Rig, sound: Clip, form: dict[str, str], reason: str
) -> None:
    with pytest.raises(NvdecError, match=reason):
        rig.decode(make_clip(320, 240, **form).packets)  # type: ignore[arg-type]
    rig.check(sound)


@pytest.mark.gpu
def test_an_exception_of_the_callback_is_raised_and_ends_the_clip(rig: Rig, sound: Clip) -> None:
    def on_picture(picture: MappedPicture) -> None:
        if picture.index == 3:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        rig.decoder.decode(sound.packets, "h264", on_picture)
    rig.check(sound)


@pytest.mark.gpu
def test_other_codecs_are_refused(rig: Rig) -> None:
    with pytest.raises(NvdecError, match="mpeg4"):
        rig.decoder.decode([b""], "mpeg4", lambda picture: None)
