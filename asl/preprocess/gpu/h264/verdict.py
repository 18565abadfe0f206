"""What the results of a stream's slices say about the stream."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asl.preprocess.gpu.h264.bitstream import Bitstream
from asl.preprocess.gpu.h264.layout import Reason
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error
from asl.preprocess.gpu.h264.references import check_references

_IDR = 5  # nal_unit_type


@dataclass(frozen=True)
class Verdict:
    """Whether a stream is sound."""

    ok: bool
    reason: str = ""  # what is wrong, and where: picture in decoding order, slice, bit
    unsupported: bool = False  # the parser does not know such streams; they may be sound


def judge(stream: Bitstream, results: npt.NDArray[np.void]) -> Verdict:
    """Judge a stream by the results of its slices.

    Every slice must have been parsed to its end, the slices of a picture must fill it, and ``frame_num`` must
    count reference pictures without a gap (7.4.3), so that no slice and no reference picture is missing. The
    order of ``PicOrderCnt`` (8.2.1) must be that of the time stamps, or pictures are in the wrong place. What
    slice headers ask of reference pictures must be possible, see :func:`check_references`.

    Args:
        stream: the stream.
        results: ``(S,)`` :data:`~asl.preprocess.gpu.h264.layout.RESULT` of its slices.
    """
    bad = np.flatnonzero(results["reason"])
    if len(bad):
        index = int(bad[0])
        reason = Reason(int(results["reason"][index]))
        where = _place(stream, index)
        mb, position = int(results["end_mb"][index]), int(results["position"][index])
        return Verdict(
            False, f"{where}, macroblock {mb}, bit {position}: {reason}", reason is Reason.UNSUPPORTED
        )
    return (
        _check_pictures(stream, results)
        or _check_frame_numbers(stream, results)
        or _check_order(stream, results)
        or _check_references(stream, results)
        or Verdict(True)
    )


def _place(stream: Bitstream, index: int) -> str:
    picture = int(stream.pictures[index])
    first = int(np.searchsorted(stream.pictures, picture))
    return f"picture {picture}, slice {index - first}"


def _check_pictures(stream: Bitstream, results: npt.NDArray[np.void]) -> Verdict | None:
    """Whether the slices of each picture belong together and fill it."""
    starts = np.r_[True, np.diff(stream.pictures) != 0]
    ends = np.r_[starts[1:], True]
    params = stream.params[stream.slices["params"]]
    totals = params["mb_width"] * params["mb_height"]
    expected = np.where(starts, 0, np.roll(results["end_mb"], 1))
    wrong = (results["first_mb"] != expected) | (ends & (results["end_mb"] != totals))
    if wrong.any():
        return Verdict(False, f"{_place(stream, int(wrong.argmax()))}: slices do not fill the picture")
    for name, values in (
        ("nal_unit_type", stream.slices["nal_unit_type"]),
        ("nal_ref_idc", stream.slices["nal_ref_idc"] > 0),
        ("frame_num", results["frame_num"]),
        ("idr_pic_id", results["idr_pic_id"]),
        ("pic_order_cnt", results["pic_order_cnt_lsb"]),
    ):
        differs = ~starts & (values != np.roll(values, 1))
        if differs.any():
            where = _place(stream, int(differs.argmax()))
            return Verdict(False, f"{where}: {name} differs within the picture")
    return None


def _check_frame_numbers(stream: Bitstream, results: npt.NDArray[np.void]) -> Verdict | None:
    starts = np.flatnonzero(np.r_[True, np.diff(stream.pictures) != 0])
    kinds, importance = stream.slices["nal_unit_type"][starts], stream.slices["nal_ref_idc"][starts]
    numbers, resets = results["frame_num"][starts], results["resets"][starts]
    params = stream.slices["params"][starts]
    if kinds[0] != _IDR:
        return Verdict(False, "the stream does not begin with an IDR picture", unsupported=True)
    previous = 0
    for i in range(len(starts)):
        sequence = stream.sequences[int(params[i])]
        most = 1 << sequence.log2_max_frame_num
        number = int(numbers[i])
        if kinds[i] != _IDR and not sequence.gaps_in_frame_num and number != (previous + 1) % most:
            return Verdict(
                False, f"picture {int(stream.pictures[starts[i]])}: frame_num is {number} after {previous}"
            )
        if importance[i]:
            previous = 0 if resets[i] else number
    return None


def _check_order(stream: Bitstream, results: npt.NDArray[np.void]) -> Verdict | None:
    """Whether pictures are displayed in the order of their PicOrderCnt."""
    if stream.ranks is None:
        return None
    starts = np.flatnonzero(np.r_[True, np.diff(stream.pictures) != 0])
    order: list[tuple[int, int, int]] = []  # coded video sequence, PicOrderCnt, rank
    video_sequence = msb = lsb_before = 0
    for start in starts.tolist():
        parameters = stream.sequences[int(stream.slices["params"][start])]
        lsb = int(results["pic_order_cnt_lsb"][start])
        resets = bool(results["resets"][start])  # the picture itself counts 0 then (8.2.1)
        if resets or stream.slices["nal_unit_type"][start] == _IDR:
            video_sequence, msb, lsb_before = video_sequence + 1, 0, 0
            lsb = 0 if resets else lsb
        if parameters.pic_order_cnt_type == 0:  # 8.2.1.1
            size, high = 1 << parameters.log2_max_pic_order_cnt_lsb, msb
            if lsb_before - lsb >= size // 2:
                high += size
            elif lsb - lsb_before > size // 2:
                high -= size
            if stream.slices["nal_ref_idc"][start]:
                msb, lsb_before = high, lsb
            count = high + lsb
        elif parameters.pic_order_cnt_type == 2:  # 8.2.1.3: decoding order
            count = len(order)
        else:
            return None  # type 1 is not known here
        order.append((video_sequence, count, stream.ranks[int(stream.pictures[start])]))
    order.sort()
    for earlier, later in pairwise(order):
        if earlier[2] >= later[2] or earlier[:2] == later[:2]:
            place = stream.ranks.index(later[2])
            return Verdict(False, f"picture {place}: PicOrderCnt is not in the order of the time stamps")
    return None


def _check_references(stream: Bitstream, results: npt.NDArray[np.void]) -> Verdict | None:
    try:
        check_references(stream, results)
    except H264Error as error:
        return Verdict(False, str(error), isinstance(error, UnsupportedH264Error))
    return None
