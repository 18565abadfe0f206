"""Sequence and picture parameter sets (7.3.2.1, 7.3.2.2) of streams that the parser of slices knows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from asl.preprocess.gpu.h264.layout import PARAMS
from asl.preprocess.gpu.h264.rbsp import BitReader

#: Profiles whose sequence parameter sets name chroma format, bit depths and scaling lists (7.3.2.1.1).
_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}

_EXTENDED_SAR = 255
_MAX_MACROBLOCKS = 139_264  # MaxFS of level 6.2, Table A-1


@dataclass(frozen=True)
class ColorDescription:
    """How samples become colours (E.2.1)."""

    full_range: bool = False  # video_full_range_flag
    matrix_coefficients: int = 2  # as in ITU-T H.273; 2: unspecified
    chroma_location: int = 0  # chroma_sample_loc_type


@dataclass(frozen=True)
class SequenceParameters:
    """Of a sequence parameter set, what slices and checks need."""

    id: int
    mb_width: int
    mb_height: int
    width: int  # pixels of the cropped picture
    height: int
    log2_max_frame_num: int
    pic_order_cnt_type: int
    log2_max_pic_order_cnt_lsb: int
    delta_pic_order_always_zero: bool
    max_num_ref_frames: int
    gaps_in_frame_num: bool
    direct_8x8_inference: bool
    color: ColorDescription
    lossless: bool  # qpprime_y_zero_transform_bypass_flag


@dataclass(frozen=True)
class PictureParameters:
    """Of a picture parameter set, what slices need."""

    id: int
    sequence_id: int
    cabac: bool
    bottom_field_pic_order: bool
    num_refs: tuple[int, int]
    weighted_pred: bool
    weighted_bipred_idc: int
    pic_init_qp: int
    constrained_intra_pred: bool
    deblocking_control_present: bool
    redundant_pic_cnt_present: bool
    transform_8x8_mode: bool


@lru_cache(maxsize=256)  # clips of one encoder share theirs
def read_sequence_parameters(nal_unit: bytes) -> SequenceParameters:
    """Read a sequence parameter set.

    Args:
        nal_unit: the NAL unit without emulation prevention bytes.

    Raises:
        H264Error: it is damaged.
        UnsupportedH264Error: the parser does not know such streams: interlaced, not 4:2:0, not 8 bits.
    """
    bits = BitReader(nal_unit, "sequence parameter set")
    profile = bits.u(8)
    bits.u(6)  # constraint_set flags
    bits.require(bits.u(2) == 0, "reserved_zero_2bits")
    bits.u(8)  # level_idc
    set_id, lossless = bits.ue(31, "seq_parameter_set_id"), False
    if profile in _HIGH_PROFILES:
        bits.support(bits.ue(3, "chroma_format_idc") == 1, "a chroma format other than 4:2:0")
        depths = bits.ue(6, "bit_depth_luma"), bits.ue(6, "bit_depth_chroma")
        bits.support(depths == (0, 0), "more than 8 bits")
        lossless = bool(bits.u(1))
        if bits.u(1):
            _skip_scaling_lists(bits, 8)
    log2_max_frame_num = 4 + bits.ue(12, "log2_max_frame_num")
    order_type = bits.ue(2, "pic_order_cnt_type")
    log2_max_lsb, always_zero = 4, False
    if order_type == 0:
        log2_max_lsb = 4 + bits.ue(12, "log2_max_pic_order_cnt_lsb")
    elif order_type == 1:
        always_zero = bool(bits.u(1))
        bits.se()
        bits.se()
        for _ in range(bits.ue(255, "num_ref_frames_in_pic_order_cnt_cycle")):
            bits.se()
    max_num_ref_frames = bits.ue(16, "max_num_ref_frames")
    gaps = bool(bits.u(1))
    mb_width, mb_height = 1 + bits.ue(1055, "pic_width_in_mbs"), 1 + bits.ue(1055, "pic_height_in_map_units")
    bits.require(mb_width * mb_height <= _MAX_MACROBLOCKS, "picture size")
    bits.support(bool(bits.u(1)), "interlaced pictures")  # frame_mbs_only_flag
    direct_8x8_inference = bool(bits.u(1))
    left = right = top = bottom = 0
    if bits.u(1):
        left, right, top, bottom = (bits.ue(1 << 13, "frame_crop_offset") for _ in range(4))
    width, height = 16 * mb_width - 2 * (left + right), 16 * mb_height - 2 * (top + bottom)
    bits.require(width > 0 and height > 0, "frame_crop_offset")
    color = _read_vui(bits, max_num_ref_frames) if bits.u(1) else ColorDescription()
    bits.end()
    return SequenceParameters(
        id=set_id,
        mb_width=mb_width,
        mb_height=mb_height,
        width=width,
        height=height,
        log2_max_frame_num=log2_max_frame_num,
        pic_order_cnt_type=order_type,
        log2_max_pic_order_cnt_lsb=log2_max_lsb,
        delta_pic_order_always_zero=always_zero,
        max_num_ref_frames=max_num_ref_frames,
        gaps_in_frame_num=gaps,
        direct_8x8_inference=direct_8x8_inference,
        color=color,
        lossless=lossless,
    )


@lru_cache(maxsize=256)
def read_picture_parameters(nal_unit: bytes) -> PictureParameters:
    """Read a picture parameter set.

    Args:
        nal_unit: the NAL unit without emulation prevention bytes.

    Raises:
        H264Error: it is damaged.
        UnsupportedH264Error: the parser does not know such streams: several slice groups.
    """
    bits = BitReader(nal_unit, "picture parameter set")
    set_id = bits.ue(255, "pic_parameter_set_id")
    sequence_id = bits.ue(31, "seq_parameter_set_id")
    cabac, bottom_field_pic_order = bool(bits.u(1)), bool(bits.u(1))
    bits.support(bits.ue(7, "num_slice_groups") == 0, "several slice groups")
    num_refs = 1 + bits.ue(31, "num_ref_idx_l0_default"), 1 + bits.ue(31, "num_ref_idx_l1_default")
    bits.support(max(num_refs) <= 16, "reference lists of fields")
    weighted_pred, weighted_bipred_idc = bool(bits.u(1)), bits.u(2)
    bits.require(weighted_bipred_idc < 3, "weighted_bipred_idc")
    pic_init_qp = 26 + bits.se(-26, 25, "pic_init_qp")
    bits.se(-26, 25, "pic_init_qs")
    bits.se(-12, 12, "chroma_qp_index_offset")
    deblocking, constrained, redundant = (bool(bits.u(1)) for _ in range(3))
    transform_8x8_mode = False
    if bits.has_more():
        transform_8x8_mode = bool(bits.u(1))
        if bits.u(1):
            _skip_scaling_lists(bits, 6 + 2 * transform_8x8_mode)
        bits.se(-12, 12, "second_chroma_qp_index_offset")
    bits.end()
    return PictureParameters(
        id=set_id,
        sequence_id=sequence_id,
        cabac=cabac,
        bottom_field_pic_order=bottom_field_pic_order,
        num_refs=num_refs,
        weighted_pred=weighted_pred,
        weighted_bipred_idc=weighted_bipred_idc,
        pic_init_qp=pic_init_qp,
        constrained_intra_pred=constrained,
        deblocking_control_present=deblocking,
        redundant_pic_cnt_present=redundant,
        transform_8x8_mode=transform_8x8_mode,
    )


def params_record(sequence: SequenceParameters, picture: PictureParameters) -> tuple[int, ...]:
    """The values of :data:`asl.preprocess.gpu.h264.layout.PARAMS`, in its order."""
    values = {**vars(sequence), **vars(picture)}
    values["num_refs_l0"], values["num_refs_l1"] = picture.num_refs
    return tuple(int(values[name]) for name in PARAMS.names or ())


def _skip_scaling_lists(bits: BitReader, count: int) -> None:
    """scaling_list() (7.3.2.1.1.1) of ``count`` matrices: six of 4x4, then of 8x8."""
    for index in range(count):
        if not bits.u(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se(-128, 127, "delta_scale") + 256) % 256
            last = following or last


def _read_vui(bits: BitReader, max_num_ref_frames: int) -> ColorDescription:
    """vui_parameters() (E.1.1)."""
    full_range, matrix, chroma_location = False, 2, 0
    if bits.u(1) and bits.u(8) == _EXTENDED_SAR:
        bits.u(32)
    if bits.u(1):
        bits.u(1)  # overscan_appropriate_flag
    if bits.u(1):  # video_signal_type_present_flag
        bits.u(3)
        full_range = bool(bits.u(1))
        if bits.u(1):
            bits.u(16)
            matrix = bits.u(8)
    if bits.u(1):  # chroma_loc_info_present_flag
        chroma_location = bits.ue(5, "chroma_sample_loc_type")
        bits.ue(5, "chroma_sample_loc_type")
    if bits.u(1):  # timing_info_present_flag
        times = bits.u(32), bits.u(32)
        bits.require(min(times) > 0, "time_scale or num_units_in_tick")
        bits.u(1)
    has_hrd = [_read_hrd(bits) for _ in range(2)]
    if any(has_hrd):
        bits.u(1)  # low_delay_hrd_flag
    bits.u(1)  # pic_struct_present_flag
    if bits.u(1):  # bitstream_restriction_flag
        bits.u(1)
        for name in ("max_bytes_per_pic_denom", "max_bits_per_mb_denom"):
            bits.ue(16, name)
        for name in ("log2_max_mv_length_horizontal", "log2_max_mv_length_vertical"):
            bits.ue(16, name)
        num_reorder, buffering = bits.ue(16, "max_num_reorder_frames"), bits.ue(16, "max_dec_frame_buffering")
        bits.require(num_reorder <= buffering >= max_num_ref_frames, "max_dec_frame_buffering")
    return ColorDescription(full_range, matrix, chroma_location)


def _read_hrd(bits: BitReader) -> bool:
    """A flag and the hrd_parameters() (E.1.2) that it announces."""
    if not bits.u(1):
        return False
    count = 1 + bits.ue(31, "cpb_cnt")
    bits.u(8)
    for _ in range(count):
        bits.ue(1 << 32, "bit_rate_value")
        bits.ue(1 << 32, "cpb_size_value")
        bits.u(1)
    bits.u(20)
    return True
