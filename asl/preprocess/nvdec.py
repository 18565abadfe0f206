"""Decode a clip on the GPU and ask after each picture: a proof that needs no decoder on the host.

A GPU conceals damage and goes on, and neither FFmpeg nor DALI passes on what the hardware knows about it.
Its driver does: it tells of each H.264 picture whether something was wrong (``cuvidGetDecodeStatus``). Two
things it does not see, and they are looked for in the bytes: zeros in place of data, which it takes for the
end of a picture, and pictures that are missing.

Types and constants are those of ``nvcuvid.h`` and ``cuviddec.h`` in NVIDIA's Video Codec SDK 12.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import av
from av.bitstream import BitStreamFilterContext

from asl.preprocess.cuda_driver import enter_context
from asl.preprocess.video import Index, VideoError, index_of

_H264 = 4  # cudaVideoCodec_H264
_YUV420 = 1  # cudaVideoChromaFormat_420
_PREFER_CUVID = 4  # cudaVideoCreate_PreferCUVID
_IN_PROGRESS, _SUCCESS = 1, 2  # cuvidDecodeStatus
_END_OF_STREAM, _TIMESTAMP, _END_OF_PICTURE = 1, 2, 8  # CUvideopacketflags

_IDR = 5  # nal_unit_type
_AHEAD = 4  # surfaces more than a stream needs, so that pictures are decoded while others are asked after
_POLL_S = 0.0002
_PATIENCE_S = 20.0
_KEPT_DECODERS = 2  # of the sizes used last; to create one takes as long as decoding a short clip


def check(clip: CodedClip) -> None:
    """Decode every picture of a clip, and let the GPU say whether it was whole.

    Raises:
        VideoError: something is wrong, or is not known to be right. The host's decoder has the last word.
        OSError: there is no driver, or no device.
    """
    shown = _decoder().run(clip.pictures)
    if len(shown) != len(clip.pictures):
        raise VideoError(f"shows {len(shown)} of {len(clip.pictures)} pictures")
    if any(later <= earlier for earlier, later in pairwise(shown)):
        raise VideoError("has time stamps that do not rise")


# ---------------------------------------------------------------- bytes


@dataclass(frozen=True)
class Picture:
    """One coded picture."""

    data: bytes  # as a byte stream, with start codes and what the decoder must know before
    pts: int
    is_idr: bool


@dataclass(frozen=True)
class CodedClip:
    """A file's pictures, none decoded yet."""

    index: Index
    pictures: Sequence[Picture]  # in the order of decoding


def read_clip(path: Path) -> CodedClip:
    """Read an H.264 MP4 as :func:`asl.preprocess.video.copy` writes it.

    Raises:
        VideoError: it cannot be read, or its bytes cannot be right.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            extra = stream.codec_context.extradata or b""
            if stream.codec_context.name != "h264" or len(extra) < 7 or extra[0] != 1:
                raise VideoError("does not say how long its units are")
            packets = [packet for packet in container.demux(stream) if packet.size]
            index = index_of(stream, packets)
            to_byte_stream = BitStreamFilterContext("h264_mp4toannexb", stream)
            pictures = []
            for packet in packets:
                types = set(unit_types(bytes(packet), length_size=1 + (extra[4] & 3)))
                for whole in to_byte_stream.filter(packet):
                    pictures.append(Picture(bytes(whole), whole.pts or 0, _IDR in types))
            return CodedClip(index, pictures)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def unit_types(packet: bytes, *, length_size: int) -> Iterator[int]:
    """``nal_unit_type`` of each unit of an MP4's packet (ITU-T H.264, 7.3.1; ISO/IEC 14496-15, 5.3).

    Args:
        packet: units, each after its length.
        length_size: bytes of such a length.

    Raises:
        VideoError: units do not fill the packet, or one has bytes that none can have (7.4.1).
    """
    place = 0
    while place < len(packet):
        start = place + length_size
        place = start + int.from_bytes(packet[place:start], "big")
        if not start < place <= len(packet):
            raise VideoError("has units that do not fill their packet")
        unit = packet[start:place]
        if b"\0\0\0" in unit or b"\0\0\1" in unit or b"\0\0\2" in unit or unit[-1] == 0:
            raise VideoError("has zeros in place of data")
        yield unit[0] & 31


# ---------------------------------------------------------------- the driver's types


class _Format(ctypes.Structure):  # CUVIDEOFORMAT
    _fields_: ClassVar = [
        ("codec", ctypes.c_int),
        ("frame_rate", ctypes.c_uint * 2),
        ("progressive_sequence", ctypes.c_ubyte),
        ("bit_depth_luma_minus8", ctypes.c_ubyte),
        ("bit_depth_chroma_minus8", ctypes.c_ubyte),
        ("min_num_decode_surfaces", ctypes.c_ubyte),
        ("coded_width", ctypes.c_uint),
        ("coded_height", ctypes.c_uint),
        ("display_area", ctypes.c_int * 4),  # left, top, right, bottom
        ("chroma_format", ctypes.c_int),
        ("bitrate", ctypes.c_uint),
        ("display_aspect_ratio", ctypes.c_int * 2),
        ("video_signal_description", ctypes.c_ubyte * 4),
        ("seqhdr_data_length", ctypes.c_uint),
    ]


class _CreateInfo(ctypes.Structure):  # CUVIDDECODECREATEINFO
    _fields_: ClassVar = [
        ("width", ctypes.c_ulong),
        ("height", ctypes.c_ulong),
        ("num_decode_surfaces", ctypes.c_ulong),
        ("codec", ctypes.c_int),
        ("chroma_format", ctypes.c_int),
        ("creation_flags", ctypes.c_ulong),
        ("bit_depth_minus8", ctypes.c_ulong),
        ("intra_decode_only", ctypes.c_ulong),
        ("max_width", ctypes.c_ulong),
        ("max_height", ctypes.c_ulong),
        ("reserved1", ctypes.c_ulong),
        ("display_area", ctypes.c_short * 4),
        ("output_format", ctypes.c_int),  # 0: NV12
        ("deinterlace_mode", ctypes.c_int),  # 0: weave
        ("target_width", ctypes.c_ulong),
        ("target_height", ctypes.c_ulong),
        ("num_output_surfaces", ctypes.c_ulong),
        ("lock", ctypes.c_void_p),
        ("target_rect", ctypes.c_short * 4),
        ("enable_histogram", ctypes.c_ulong),
        ("reserved2", ctypes.c_ulong * 4),
    ]


class _PictureParams(ctypes.Structure):  # CUVIDPICPARAMS, then CUVIDH264PICPARAMS as far as needed
    _fields_: ClassVar = [
        ("width_in_mbs", ctypes.c_int),
        ("height_in_mbs", ctypes.c_int),
        ("index", ctypes.c_int),
        ("field_pic_flag", ctypes.c_int),
        ("bottom_field_flag", ctypes.c_int),
        ("second_field", ctypes.c_int),
        ("bitstream_length", ctypes.c_uint),
        ("bitstream", ctypes.c_void_p),
        ("num_slices", ctypes.c_uint),
        ("slice_offsets", ctypes.c_void_p),
        ("ref_pic_flag", ctypes.c_int),
        ("intra_pic_flag", ctypes.c_int),
        ("reserved", ctypes.c_uint * 30),
        ("log2_max_frame_num_minus4", ctypes.c_int),
        ("pic_order_cnt_type", ctypes.c_int),
        ("log2_max_pic_order_cnt_lsb_minus4", ctypes.c_int),
        ("delta_pic_order_always_zero_flag", ctypes.c_int),
        ("frame_mbs_only_flag", ctypes.c_int),
        ("direct_8x8_inference_flag", ctypes.c_int),
        ("num_ref_frames", ctypes.c_int),
        ("sequence_flags", ctypes.c_ubyte * 4),
        ("picture_flags", ctypes.c_int * 14),
        ("h264_ref_pic_flag", ctypes.c_int),
        ("frame_num", ctypes.c_int),
    ]


class _DisplayInfo(ctypes.Structure):  # CUVIDPARSERDISPINFO
    _fields_: ClassVar = [
        ("index", ctypes.c_int),
        ("progressive_frame", ctypes.c_int),
        ("top_field_first", ctypes.c_int),
        ("repeat_first_field", ctypes.c_int),
        ("timestamp", ctypes.c_longlong),
    ]


class _Status(ctypes.Structure):  # CUVIDGETDECODESTATUS
    _fields_: ClassVar = [
        ("status", ctypes.c_int),
        ("reserved", ctypes.c_uint * 31),
        ("reserved_pointers", ctypes.c_void_p * 8),
    ]


class _Packet(ctypes.Structure):  # CUVIDSOURCEDATAPACKET
    _fields_: ClassVar = [
        ("flags", ctypes.c_ulong),
        ("size", ctypes.c_ulong),
        ("data", ctypes.c_char_p),
        ("timestamp", ctypes.c_longlong),
    ]


_OnSequence = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Format))
_OnPicture = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_PictureParams))
_OnDisplay = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_DisplayInfo))


class _ParserParams(ctypes.Structure):  # CUVIDPARSERPARAMS
    _fields_: ClassVar = [
        ("codec", ctypes.c_int),
        ("max_num_decode_surfaces", ctypes.c_uint),
        ("clock_rate", ctypes.c_uint),
        ("error_threshold", ctypes.c_uint),
        ("max_display_delay", ctypes.c_uint),
        ("annex_b", ctypes.c_uint),
        ("reserved1", ctypes.c_uint * 4),
        ("user_data", ctypes.c_void_p),
        ("on_sequence", _OnSequence),
        ("on_picture", _OnPicture),
        ("on_display", _OnDisplay),
        ("reserved2", ctypes.c_void_p * 7),
        ("extended", ctypes.c_void_p),
    ]


# ---------------------------------------------------------------- the device


class _Decoder:
    """NVDEC with its parser, for one thread; keeps the hardware decoders of the last few sizes."""

    def __init__(self) -> None:
        self._cuvid = ctypes.CDLL("libnvcuvid.so.1")
        enter_context()
        self._kept: OrderedDict[tuple[int, ...], ctypes.c_void_p] = OrderedDict()

    def run(self, pictures: Sequence[Picture]) -> list[int]:
        """Time stamps of the pictures as they are shown.

        Raises:
            VideoError: a picture cannot be decoded, was concealed, or is missing.
        """
        stream = _Stream(self, pictures)
        parser = ctypes.c_void_p()
        params = _ParserParams(
            codec=_H264,
            max_num_decode_surfaces=1,
            max_display_delay=1,
            on_sequence=_OnSequence(stream.guarded(stream.on_sequence)),
            on_picture=_OnPicture(stream.guarded(stream.on_picture)),
            on_display=_OnDisplay(stream.guarded(stream.on_display)),
        )
        _call(self._cuvid.cuvidCreateVideoParser, ctypes.byref(parser), ctypes.byref(params))
        try:
            for picture in pictures:
                flags = _TIMESTAMP | _END_OF_PICTURE
                packet = _Packet(flags, len(picture.data), picture.data, picture.pts)
                stream.parse(self._cuvid.cuvidParseVideoData, parser, packet)
            stream.parse(self._cuvid.cuvidParseVideoData, parser, _Packet(_END_OF_STREAM, 0, None, 0))
            for index in list(stream.pending):
                stream.settle(index)
        finally:
            self._cuvid.cuvidDestroyVideoParser(parser)
            for index in list(stream.pending):  # or the next clip would meet surfaces still in use
                self.status(stream.hardware, index)
        return stream.shown

    def hardware(self, form: _Format) -> tuple[ctypes.c_void_p, int]:
        """A decoder for a stream, and the number of its surfaces."""
        surfaces = max(1, form.min_num_decode_surfaces) + _AHEAD
        key = (form.coded_width, form.coded_height, surfaces, *form.display_area)
        if key not in self._kept:
            while len(self._kept) >= _KEPT_DECODERS:
                self._cuvid.cuvidDestroyDecoder(self._kept.popitem(last=False)[1])
            left, top, right, bottom = form.display_area
            info = _CreateInfo(
                width=form.coded_width,
                height=form.coded_height,
                max_width=form.coded_width,
                max_height=form.coded_height,
                num_decode_surfaces=surfaces,
                codec=form.codec,
                chroma_format=form.chroma_format,
                creation_flags=_PREFER_CUVID,
                display_area=(left, top, right, bottom),
                target_width=right - left,
                target_height=bottom - top,
                num_output_surfaces=1,
            )
            made = ctypes.c_void_p()
            _call(self._cuvid.cuvidCreateDecoder, ctypes.byref(made), ctypes.byref(info))
            self._kept[key] = made
        self._kept.move_to_end(key)
        return self._kept[key], surfaces

    def decode(self, hardware: ctypes.c_void_p, picture: Any) -> None:
        _call(self._cuvid.cuvidDecodePicture, hardware, picture)

    def status(self, hardware: ctypes.c_void_p, index: int) -> int:
        """``cuvidDecodeStatus`` of a picture, once it is decoded."""
        told, until = _Status(), time.monotonic() + _PATIENCE_S
        while True:
            _call(self._cuvid.cuvidGetDecodeStatus, hardware, index, ctypes.byref(told))
            if told.status != _IN_PROGRESS or time.monotonic() > until:
                return told.status
            time.sleep(_POLL_S)


@dataclass
class _Stream:
    """What one clip's parser tells, and what came of it."""

    decoder: _Decoder
    pictures: Sequence[Picture]
    shown: list[int] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)  # surfaces whose picture was not asked after yet
    hardware: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    decoded: int = 0
    last_reference: int = 0  # frame_num
    wrong: Exception | None = None

    def guarded(self, function: Callable[[Any], int]) -> Callable[[Any, Any], int]:
        """A callback that lets no exception into the driver: it ends the parsing instead."""

        def call(_: Any, told: Any) -> int:
            if self.wrong is not None:
                return 0
            try:
                return function(told)
            except Exception as error:
                self.wrong = error
                return 0

        return call

    def parse(self, function: Any, parser: ctypes.c_void_p, packet: _Packet) -> None:
        failed = function(parser, ctypes.byref(packet))
        if self.wrong is not None:
            raise self.wrong
        if failed:
            raise VideoError(f"cannot be parsed (CUDA error {failed})")

    def on_sequence(self, told: Any) -> int:
        form = told.contents
        depths = (form.bit_depth_luma_minus8, form.bit_depth_chroma_minus8)
        if self.hardware or (form.codec, form.chroma_format, *depths) != (_H264, _YUV420, 0, 0):
            raise VideoError("changes its form, or is not plain H.264")
        self.hardware, surfaces = self.decoder.hardware(form)
        return surfaces

    def on_picture(self, told: Any) -> int:
        picture = told.contents
        if picture.field_pic_flag:
            raise VideoError("is interlaced")
        if self.decoded >= len(self.pictures):
            raise VideoError("has more pictures than packets")
        self._nothing_missing(picture)
        self.settle(picture.index)
        self.decoder.decode(self.hardware, told)
        self.pending.add(picture.index)
        self.decoded += 1
        return 1

    def _nothing_missing(self, picture: _PictureParams) -> None:
        """``frame_num`` counts reference pictures since the last IDR picture (ITU-T H.264, 7.4.3)."""
        is_idr = self.pictures[self.decoded].is_idr
        if self.decoded == 0 and not is_idr:
            raise VideoError("does not begin with a picture of its own")
        most = 1 << (picture.log2_max_frame_num_minus4 + 4)
        if not is_idr and picture.frame_num not in (self.last_reference, (self.last_reference + 1) % most):
            raise VideoError("lacks a picture")
        if picture.ref_pic_flag:
            self.last_reference = picture.frame_num

    def on_display(self, told: Any) -> int:
        if told:
            self.shown.append(told.contents.timestamp)
        return 1

    def settle(self, index: int) -> None:
        """Wait for the picture on a surface, and ask how it is."""
        if index in self.pending:
            self.pending.discard(index)
            status = self.decoder.status(self.hardware, index)
            if status != _SUCCESS:
                raise VideoError(f"has a damaged picture (decode status {status})")


_of_thread = threading.local()


def _decoder() -> _Decoder:
    """This thread's."""
    if not hasattr(_of_thread, "decoder"):
        _of_thread.decoder = _Decoder()
    decoder: _Decoder = _of_thread.decoder
    return decoder


def _call(function: Any, *arguments: Any) -> None:
    failed = function(*arguments)
    if failed:
        raise VideoError(f"{function.__name__} fails with CUDA error {failed}", "GPU")
