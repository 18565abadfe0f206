"""Whether slice headers name reference pictures that exist: marking (8.2.5) and lists (8.2.4.3) of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asl.preprocess.gpu.h264.bitstream import Bitstream
from asl.preprocess.gpu.h264.layout import MAX_OPERATIONS, operations_of
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error

_IDR = 5  # nal_unit_type
_INTRA = 2  # slice_kind
_MARKING = 8 << 24  # operations from here on are of dec_ref_pic_marking()


@dataclass
class _References:
    """The pictures that are marked as used for reference."""

    #: By frame_num, in decoding order. False: a "non-existing" frame, which fills a gap in frame_num.
    short_term: dict[int, bool] = field(default_factory=dict)
    long_term: set[int] = field(default_factory=set)  # LongTermFrameIdx

    def exist(self) -> bool:
        """Whether there is any picture besides frames in gaps."""
        return bool(self.long_term) or any(self.short_term.values())

    def add(self, frame_num: int, *, exists: bool = True) -> None:
        """Mark a picture as used for short-term reference."""
        if frame_num in self.short_term:
            raise H264Error(f"two reference pictures have the frame_num {frame_num}")
        self.short_term[frame_num] = exists

    def slide(self, most: int) -> None:
        """Make room for a picture (8.2.5.3); ``most`` is max_num_ref_frames."""
        if self.short_term and len(self.short_term) + len(self.long_term) >= most:
            del self.short_term[next(iter(self.short_term))]

    def fill_gap(self, previous: int, frame_num: int, max_frame_num: int, most: int) -> None:
        """Add the frames that are missing between two values of frame_num (8.2.5.2)."""
        missing = (frame_num - previous - 1) % max_frame_num
        for back in range(min(missing, 16), 0, -1):  # others have left the window
            self.slide(most)
            self.add((frame_num - back) % max_frame_num, exists=False)

    def check_lists(
        self, frame_num: int, max_frame_num: int, lengths: tuple[int, int], operations: Sequence[int]
    ) -> None:
        """Whether each modification of a slice's lists names a picture (8.2.4.3), and no entry is left empty.

        ``lengths`` are num_ref_idx_active_minus1 + 1. A list holds all pictures, in any order. A modification
        moves a picture to the front, and adds an entry if it names the picture for the second time.
        """
        available = len(self.short_term) + len(self.long_term)
        if not operations and max(lengths) <= available:
            return
        predicted = [frame_num, frame_num]  # picNumLXPred, modulo MaxFrameNum
        lists: tuple[list[int], list[int]] = ([], [])  # named pictures; below 0: long-term ones
        for operation in operations:
            if operation >= _MARKING:
                break
            kind, value = operation >> 24, operation & 0xFFFF
            which, idc = kind >> 2, kind & 3
            if idc == 2:
                if value not in self.long_term:
                    raise H264Error(f"list {which} names the long-term picture {value}, which does not exist")
                lists[which].append(-1 - value)
                continue
            step = value + 1 if idc else -value - 1
            predicted[which] = number = (predicted[which] + step) % max_frame_num
            self._find(number, f"list {which}")
            lists[which].append(number)
        for length, named in zip(lengths, lists, strict=True):
            if length > available and length > available + len(named) - len(set(named)):
                raise UnsupportedH264Error("a reference list has entries without a picture")

    def mark(self, frame_num: int, max_frame_num: int, operations: list[int]) -> None:
        """Mark pictures as adaptive marking says (8.2.5.4), and the current one."""
        current_is_long_term = False
        for operation in operations:
            kind, index = (operation >> 24) - 8, operation >> 16 & 0xFF
            number = (frame_num - (operation & 0xFFFF) - 1) % max_frame_num
            if kind == 1:
                if self.short_term.pop(number, None) is None:
                    raise H264Error(f"the picture of frame_num {number} is removed, which does not exist")
            elif kind == 2:
                if index not in self.long_term:
                    raise H264Error(f"the long-term picture {index} is removed, which does not exist")
                self.long_term.remove(index)
            elif kind == 3:
                self._find(number, "marking for long-term reference")
                del self.short_term[number]
                self.long_term.add(index)
            elif kind == 4:
                self.long_term = {i for i in self.long_term if i < index}
            elif kind == 5:
                self.short_term.clear()
                self.long_term.clear()
                frame_num = 0
            else:
                self.long_term.add(index)
                current_is_long_term = True
        if not current_is_long_term:
            self.add(frame_num)

    def _find(self, number: int, where: str) -> None:
        """Raise an error unless there is a short-term picture of a frame_num."""
        exists = self.short_term.get(number)
        if exists is None:
            raise H264Error(f"{where} names the picture of frame_num {number}, which does not exist")
        if not exists:
            raise UnsupportedH264Error(f"{where} names a frame in a gap of frame_num")


def _marking_of(operations: Sequence[int] | None) -> list[int]:
    """Operations of dec_ref_pic_marking()."""
    return [one for one in operations if one >= _MARKING] if operations else []


def check_references(stream: Bitstream, results: npt.NDArray[np.void]) -> None:
    """Simulate the marking of reference pictures, and check what slice headers ask of them.

    Each modification of a reference list and each memory management control operation must name a picture
    that is marked as used for reference, there must not be more such pictures than max_num_ref_frames, and
    the slices of a picture must have the same dec_ref_pic_marking(). That P and B slices have a picture to
    predict from needs no check but in gaps of frame_num: an IDR picture is one, and each reference picture is
    marked itself, whatever it removes.

    Args:
        stream: the stream; its first picture is an IDR picture.
        results: ``(S,)`` :data:`~asl.preprocess.gpu.h264.layout.RESULT` of its slices, which are sound.

    Raises:
        H264Error: a picture is named that does not exist; the message says in which picture and slice.
        UnsupportedH264Error: a header has more operations than a result has room for, a list is longer than
            there are pictures (which is legal while no block uses such an entry, 8.2.4.2; FFmpeg's strict
            decoder refuses it), or prediction is from frames in a gap of frame_num.
    """
    counts = results["num_operations"]
    if counts.max() > MAX_OPERATIONS:
        raise UnsupportedH264Error("a slice header with many operations on reference pictures")
    words = operations_of(results)
    operations = {i: words[i, : counts[i]].tolist() for i in np.flatnonzero(counts).tolist()}
    starts = np.flatnonzero(np.r_[True, np.diff(stream.pictures) != 0])
    ends = np.r_[starts[1:], len(results)].tolist()
    numbers, adaptive = results["frame_num"].tolist(), results["adaptive_marking"].tolist()
    lengths = list(zip(results["num_refs_l0"].tolist(), results["num_refs_l1"].tolist(), strict=True))
    kinds, resets = results["slice_kind"].tolist(), results["resets"].tolist()
    params = stream.slices["params"].tolist()
    is_idr = (stream.slices["nal_unit_type"] == _IDR).tolist()
    is_reference = (stream.slices["nal_ref_idc"] > 0).tolist()

    references, previous, index = _References(), 0, 0
    try:
        for start, end in zip(starts.tolist(), ends, strict=True):
            index = start
            sequence = stream.sequences[params[start]]
            most, max_frame_num = sequence.max_num_ref_frames, 1 << sequence.log2_max_frame_num
            number = numbers[start]
            if is_idr[start]:
                references = _References()
            elif sequence.gaps_in_frame_num:
                if number != previous:
                    references.fill_gap(previous, number, max_frame_num, most)
                    previous = (number - 1) % max_frame_num
                if min(kinds[start:end]) < _INTRA and not references.exist():
                    raise UnsupportedH264Error("only frames in a gap of frame_num to predict from")
            marking = _marking_of(operations.get(start))
            for index in range(start, end):
                own = operations.get(index)
                if kinds[index] != _INTRA:
                    references.check_lists(number, max_frame_num, lengths[index], own or ())
                if index > start and (adaptive[index] != adaptive[start] or _marking_of(own) != marking):
                    raise H264Error("dec_ref_pic_marking() differs within the picture")
            index = start
            if is_reference[start]:
                if not adaptive[start] and not is_idr[start]:
                    references.slide(most)
                references.mark(number, max_frame_num, marking)
                if len(references.short_term) + len(references.long_term) > max(most, 1):
                    raise H264Error("more reference pictures than max_num_ref_frames")
                previous = 0 if resets[start] else number
    except H264Error as error:
        first = int(np.searchsorted(stream.pictures, stream.pictures[index]))
        place = f"picture {int(stream.pictures[index])}, slice {index - first}"
        raise type(error)(f"{place}: {error}") from None
