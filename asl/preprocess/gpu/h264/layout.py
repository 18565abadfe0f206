"""Records that Python and the parser share, and the reasons for which the parser refuses a slice."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

#: Values for the parser of a sequence and a picture parameter set, all int32.
PARAMS = np.dtype(
    [
        (name, np.int32)
        for name in (
            "mb_width",
            "mb_height",
            "log2_max_frame_num",
            "pic_order_cnt_type",
            "log2_max_pic_order_cnt_lsb",
            "delta_pic_order_always_zero",
            "direct_8x8_inference",
            "cabac",
            "bottom_field_pic_order",
            "weighted_pred",
            "weighted_bipred_idc",
            "pic_init_qp",
            "deblocking_control_present",
            "constrained_intra_pred",
            "redundant_pic_cnt_present",
            "transform_8x8_mode",
            "num_refs_l0",
            "num_refs_l1",
        )
    ]
)

#: One slice: where its bytes stand, and what its NAL unit's header says. All uint32.
SLICE = np.dtype(
    [
        (name, np.uint32)
        for name in (
            "first_word",  # of 32 bits; the slice's NAL unit without emulation prevention bytes begins there
            "num_words",
            "last_bit",  # position of the last bit that is 1
            "params",  # index
            "nal_unit_type",
            "nal_ref_idc",
        )
    ]
)

#: Most operations on reference pictures that a result has room for.
MAX_OPERATIONS = 32

#: What parsing one slice gave. All uint32; see :func:`operations_of` for the last words.
RESULT = np.dtype(
    [
        (name, np.uint32)
        for name in (
            "reason",  # Reason
            "position",  # in bits, where parsing ended
            "first_mb",
            "end_mb",  # behind the last macroblock that was parsed
            "slice_kind",  # 0 P, 1 B, 2 I
            "frame_num",
            "idr_pic_id",
            "pic_order_cnt_lsb",
            "resets",  # 1: memory_management_control_operation 5
            "num_refs_l0",  # num_ref_idx_l0_active_minus1 + 1; 0 without list 0
            "num_refs_l1",
            "adaptive_marking",  # adaptive_ref_pic_marking_mode_flag
            "num_operations",  # above MAX_OPERATIONS: the rest of them is missing
            *(f"operation_{i}" for i in range(MAX_OPERATIONS)),
        )
    ]
)


def operations_of(results: npt.NDArray[np.void]) -> npt.NDArray[np.uint32]:
    """What slice headers ask of reference pictures: ref_pic_list_modification(), then dec_ref_pic_marking().

    A word is ``kind << 24 | long_term << 16 | value``. Kinds 0 to 2 and 4 to 6 are 0 to 2 of
    modification_of_pic_nums_idc in list 0 and in list 1; ``value`` is abs_diff_pic_num_minus1 or
    long_term_pic_num. Kinds 9 to 14 are 8 + memory_management_control_operation; ``value`` is
    difference_of_pic_nums_minus1, and ``long_term`` is long_term_pic_num, long_term_frame_idx or
    max_long_term_frame_idx_plus1. long_term_reference_flag of an IDR picture is operation 6.

    Args:
        results: ``(S,)`` RESULT.

    Returns:
        ``(S, MAX_OPERATIONS)``, 0 behind the last operation of a slice.
    """
    words = np.ascontiguousarray(results).view(np.uint32).reshape(len(results), -1)
    return words[:, -MAX_OPERATIONS:]


#: Bytes of the parser's record of one column of macroblocks.
ABOVE_BYTES = 36


class Reason(IntEnum):
    """Why the parser refuses a slice."""

    OK = 0
    UNSUPPORTED = 1
    BAD_FIRST_MB = 2
    BAD_SLICE_TYPE = 3
    BAD_FRAME_NUM = 4
    BAD_NUM_REFS = 5
    BAD_LIST_MODIFICATION = 6
    BAD_WEIGHTS = 7
    BAD_MARKING = 8
    BAD_CABAC_INIT = 9
    BAD_SLICE_QP = 10
    BAD_DEBLOCKING = 11
    BAD_ALIGNMENT = 12
    BAD_SKIP_RUN = 13
    TOO_MANY_MACROBLOCKS = 14
    BEYOND_END = 15
    BEFORE_END = 16
    BAD_STOP_BIT = 17
    BAD_MB_TYPE = 18
    BAD_SUB_MB_TYPE = 19
    BAD_INTRA_MODE = 20
    BAD_CHROMA_MODE = 21
    BAD_REF = 22
    BAD_MVD = 23
    BAD_PATTERN = 24
    BAD_DELTA_QP = 25
    BAD_COEFF_TOKEN = 26
    TOO_MANY_COEFFICIENTS = 27
    BAD_LEVEL = 28
    BAD_TOTAL_ZEROS = 29
    BAD_RUN_BEFORE = 30

    def __str__(self) -> str:
        return _TEXTS[self]


_TEXTS = {
    Reason.OK: "no error",
    Reason.UNSUPPORTED: "a slice type or redundant picture that the parser does not know",
    Reason.BAD_FIRST_MB: "first_mb_in_slice is outside of the picture",
    Reason.BAD_SLICE_TYPE: "slice_type is not allowed",
    Reason.BAD_FRAME_NUM: "frame_num or idr_pic_id of an IDR picture is not allowed",
    Reason.BAD_NUM_REFS: "num_ref_idx_active_minus1 is above 15",
    Reason.BAD_LIST_MODIFICATION: "reference list modification out of range",
    Reason.BAD_WEIGHTS: "prediction weight out of range",
    Reason.BAD_MARKING: "reference picture marking out of range",
    Reason.BAD_CABAC_INIT: "cabac_init_idc is above 2",
    Reason.BAD_SLICE_QP: "slice QP outside of 0 to 51",
    Reason.BAD_DEBLOCKING: "deblocking filter parameter out of range",
    Reason.BAD_ALIGNMENT: "alignment bits of the wrong value",
    Reason.BAD_SKIP_RUN: "mb_skip_run reaches beyond the picture",
    Reason.TOO_MANY_MACROBLOCKS: "more macroblocks than the picture has",
    Reason.BEYOND_END: "the slice goes on after its data end",
    Reason.BEFORE_END: "the slice ends before its data do",
    Reason.BAD_STOP_BIT: "rbsp_stop_one_bit is 0",
    Reason.BAD_MB_TYPE: "mb_type is not allowed",
    Reason.BAD_SUB_MB_TYPE: "sub_mb_type is not allowed",
    Reason.BAD_INTRA_MODE: "intra prediction from samples that do not exist",
    Reason.BAD_CHROMA_MODE: "intra_chroma_pred_mode is above 3, or needs samples that do not exist",
    Reason.BAD_REF: "ref_idx is not in the reference list",
    Reason.BAD_MVD: "motion vector difference out of range",
    Reason.BAD_PATTERN: "coded_block_pattern is not allowed",
    Reason.BAD_DELTA_QP: "mb_qp_delta outside of -26 to 25",
    Reason.BAD_COEFF_TOKEN: "coeff_token is no code",
    Reason.TOO_MANY_COEFFICIENTS: "more coefficients than the block has",
    Reason.BAD_LEVEL: "coefficient level out of range",
    Reason.BAD_TOTAL_ZEROS: "total_zeros is no code or too large",
    Reason.BAD_RUN_BEFORE: "run_before is no code or too large",
}
