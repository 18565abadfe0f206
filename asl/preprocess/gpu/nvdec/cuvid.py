"""Structures and functions of libnvcuvid.so.1, the part of NVIDIA's driver that decodes video.

Names of structures, fields and constants are those of ``cuviddec.h`` and ``nvcuvid.h`` in NVIDIA's Video
Codec SDK. Sizes and offsets are the same in SDK 9 to 13: later versions only give names to reserved fields.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    c_int,
    c_longlong,
    c_short,
    c_ubyte,
    c_uint,
    c_ulong,
    c_ulonglong,
    c_ushort,
    c_void_p,
)
from functools import lru_cache

from asl.preprocess.gpu.cuda_calls import GpuError

LIBRARY = "libnvcuvid.so.1"

# cudaVideoCodec
CODEC_H264, CODEC_HEVC = 4, 8
# cudaVideoChromaFormat
CHROMA_420 = 1
# cudaVideoSurfaceFormat and cudaVideoDeinterlaceMode
SURFACE_NV12, DEINTERLACE_WEAVE = 0, 0
# cudaVideoCreateFlags
CREATE_PREFER_CUVID = 4
# CUvideopacketflags
PKT_ENDOFSTREAM = 1
# cuvidDecodeStatus; 8 and 9 are a picture with an error, left as it is or concealed
STATUS_IN_PROGRESS, STATUS_SUCCESS = 1, 2


class ShortRect(ctypes.Structure):
    """The unnamed rectangles of ``cuviddec.h``."""

    _fields_ = [(name, c_short) for name in ("left", "top", "right", "bottom")]


class IntRect(ctypes.Structure):
    """The unnamed rectangle of ``nvcuvid.h``."""

    _fields_ = [(name, c_int) for name in ("left", "top", "right", "bottom")]


class CUVIDDECODECAPS(ctypes.Structure):
    """What the decoder can do; the first three fields are the question."""

    _fields_ = [
        ("eCodecType", c_int),
        ("eChromaFormat", c_int),
        ("nBitDepthMinus8", c_uint),
        ("reserved1", c_uint * 3),
        ("bIsSupported", c_ubyte),
        ("nNumNVDECs", c_ubyte),
        ("nOutputFormatMask", c_ushort),
        ("nMaxWidth", c_uint),
        ("nMaxHeight", c_uint),
        ("nMaxMBCount", c_uint),
        ("nMinWidth", c_ushort),
        ("nMinHeight", c_ushort),
        ("reserved3", c_uint * 11),
    ]


class CUVIDDECODECREATEINFO(ctypes.Structure):
    """Arguments of ``cuvidCreateDecoder``."""

    _fields_ = [
        ("ulWidth", c_ulong),
        ("ulHeight", c_ulong),
        ("ulNumDecodeSurfaces", c_ulong),
        ("CodecType", c_int),
        ("ChromaFormat", c_int),
        ("ulCreationFlags", c_ulong),
        ("bitDepthMinus8", c_ulong),
        ("ulIntraDecodeOnly", c_ulong),
        ("ulMaxWidth", c_ulong),
        ("ulMaxHeight", c_ulong),
        ("Reserved1", c_ulong),
        ("display_area", ShortRect),
        ("OutputFormat", c_int),
        ("DeinterlaceMode", c_int),
        ("ulTargetWidth", c_ulong),
        ("ulTargetHeight", c_ulong),
        ("ulNumOutputSurfaces", c_ulong),
        ("vidLock", c_void_p),
        ("target_rect", ShortRect),
        ("Reserved2", c_ulong * 5),
    ]


class CUVIDRECONFIGUREDECODERINFO(ctypes.Structure):
    """Arguments of ``cuvidReconfigureDecoder``."""

    _fields_ = [
        ("ulWidth", c_uint),
        ("ulHeight", c_uint),
        ("ulTargetWidth", c_uint),
        ("ulTargetHeight", c_uint),
        ("ulNumDecodeSurfaces", c_uint),
        ("reserved1", c_uint * 12),
        ("display_area", ShortRect),
        ("target_rect", ShortRect),
        ("reserved2", c_uint * 11),
    ]


class CUVIDPICPARAMS(ctypes.Structure):
    """The first fields of a picture's parameters, which the parser fills and the decoder reads."""

    _fields_ = [
        ("PicWidthInMbs", c_int),
        ("FrameHeightInMbs", c_int),
        ("CurrPicIdx", c_int),
        ("field_pic_flag", c_int),
    ]


class CUVIDPROCPARAMS(ctypes.Structure):
    """Arguments of ``cuvidMapVideoFrame64``."""

    _fields_ = [
        ("progressive_frame", c_int),
        ("second_field", c_int),
        ("top_field_first", c_int),
        ("unpaired_field", c_int),
        ("reserved_flags", c_uint),
        ("reserved_zero", c_uint),
        ("raw_input_dptr", c_ulonglong),
        ("raw_input_pitch", c_uint),
        ("raw_input_format", c_uint),
        ("raw_output_dptr", c_ulonglong),
        ("raw_output_pitch", c_uint),
        ("Reserved1", c_uint),
        ("output_stream", c_void_p),
        ("Reserved", c_uint * 46),
        ("Reserved2", c_void_p * 2),
    ]


class CUVIDGETDECODESTATUS(ctypes.Structure):
    """Result of ``cuvidGetDecodeStatus``."""

    _fields_ = [("decodeStatus", c_int), ("reserved", c_uint * 31), ("pReserved", c_void_p * 8)]


class CUVIDEOFORMAT(ctypes.Structure):
    """What the sequence header says."""

    _fields_ = [
        ("codec", c_int),
        ("frame_rate_numerator", c_uint),
        ("frame_rate_denominator", c_uint),
        ("progressive_sequence", c_ubyte),
        ("bit_depth_luma_minus8", c_ubyte),
        ("bit_depth_chroma_minus8", c_ubyte),
        ("min_num_decode_surfaces", c_ubyte),
        ("coded_width", c_uint),
        ("coded_height", c_uint),
        ("display_area", IntRect),
        ("chroma_format", c_int),
        ("bitrate", c_uint),
        ("display_aspect_ratio_x", c_int),
        ("display_aspect_ratio_y", c_int),
        ("video_format", c_ubyte, 3),
        ("video_full_range_flag", c_ubyte, 1),
        ("reserved_zero_bits", c_ubyte, 4),
        ("color_primaries", c_ubyte),
        ("transfer_characteristics", c_ubyte),
        ("matrix_coefficients", c_ubyte),
        ("seqhdr_data_length", c_uint),
    ]


class CUVIDPARSERDISPINFO(ctypes.Structure):
    """A picture that is to be displayed."""

    _fields_ = [
        ("picture_index", c_int),
        ("progressive_frame", c_int),
        ("top_field_first", c_int),
        ("repeat_first_field", c_int),
        ("timestamp", c_longlong),
    ]


class CUVIDSOURCEDATAPACKET(ctypes.Structure):
    """Data for the parser."""

    _fields_ = [
        ("flags", c_ulong),
        ("payload_size", c_ulong),
        ("payload", ctypes.c_char_p),
        ("timestamp", c_longlong),
    ]


# The callbacks return 0 for a failure and are called within cuvidParseVideoData.
SequenceCallback = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(CUVIDEOFORMAT))
DecodeCallback = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(CUVIDPICPARAMS))
DisplayCallback = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(CUVIDPARSERDISPINFO))


class CUVIDPARSERPARAMS(ctypes.Structure):
    """Arguments of ``cuvidCreateVideoParser``."""

    _fields_ = [
        ("CodecType", c_int),
        ("ulMaxNumDecodeSurfaces", c_uint),
        ("ulClockRate", c_uint),
        ("ulErrorThreshold", c_uint),
        ("ulMaxDisplayDelay", c_uint),
        ("uReserved1", c_uint * 5),
        ("pUserData", c_void_p),
        ("pfnSequenceCallback", SequenceCallback),
        ("pfnDecodePicture", DecodeCallback),
        ("pfnDisplayPicture", DisplayCallback),
        ("pvReserved2", c_void_p * 7),
        ("pExtVideoInfo", c_void_p),
    ]


_ARGUMENTS = {
    "cuvidGetDecoderCaps": [POINTER(CUVIDDECODECAPS)],
    "cuvidCreateDecoder": [POINTER(c_void_p), POINTER(CUVIDDECODECREATEINFO)],
    "cuvidReconfigureDecoder": [c_void_p, POINTER(CUVIDRECONFIGUREDECODERINFO)],
    "cuvidDestroyDecoder": [c_void_p],
    "cuvidDecodePicture": [c_void_p, POINTER(CUVIDPICPARAMS)],
    "cuvidMapVideoFrame64": [
        c_void_p,
        c_int,
        POINTER(c_ulonglong),
        POINTER(c_uint),
        POINTER(CUVIDPROCPARAMS),
    ],
    "cuvidUnmapVideoFrame64": [c_void_p, c_ulonglong],
    "cuvidGetDecodeStatus": [c_void_p, c_int, POINTER(CUVIDGETDECODESTATUS)],
    "cuvidCreateVideoParser": [POINTER(c_void_p), POINTER(CUVIDPARSERPARAMS)],
    "cuvidParseVideoData": [c_void_p, POINTER(CUVIDSOURCEDATAPACKET)],
    "cuvidDestroyVideoParser": [c_void_p],
}


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library; its functions return a ``CUresult``.

    Raises:
        GpuError: it is not installed, or has not all functions.
    """
    try:
        loaded = ctypes.CDLL(LIBRARY)
        for name, arguments in _ARGUMENTS.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, c_int
    except (OSError, AttributeError) as error:
        raise GpuError(
            f"NVIDIA's video decoder cannot be used: {error} (in a container, set "
            f"NVIDIA_DRIVER_CAPABILITIES=compute,video,utility; else update NVIDIA's driver)"
        ) from None
    return loaded
