"""The slices of an H.264 stream from an MP4: split, unescaped, and with their parameter sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asl.preprocess.gpu.h264.layout import PARAMS, SLICE
from asl.preprocess.gpu.h264.parameter_sets import (
    PictureParameters,
    SequenceParameters,
    params_record,
    read_picture_parameters,
    read_sequence_parameters,
)
from asl.preprocess.gpu.h264.rbsp import BitReader, H264Error, UnsupportedH264Error, unescape

# nal_unit_type, Table 7-1
_SLICE, IDR_SLICE, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
PARAMETER_SETS = (_SPS, _PPS)
_DELIMITERS = {9, 10, 11, 12}  # access unit delimiter, end of sequence and stream, filler data
_PARTITIONS = {2, 3, 4}

_WORD = 4  # bytes
_START_CODE = b"\0\0\0\1"


@dataclass(frozen=True)
class Bitstream:
    """The slices of one stream, ready for the parser."""

    data: bytes  # slices one after another, each padded to whole words of 32 bits
    slices: npt.NDArray[np.void]  # (S,) SLICE; `first_word` counts from the start of data
    params: npt.NDArray[np.void]  # (P,) PARAMS, the pairs of parameter sets that the slices use
    pictures: npt.NDArray[np.intp]  # (S,) index of each slice's picture, in decoding order
    sequences: tuple[SequenceParameters, ...]  # (P,)
    messages: frozenset[int]  # payloadType of the supplemental enhancement information
    ranks: tuple[int, ...] | None  # of each picture: its place in display order, by time stamps

    @property
    def num_pictures(self) -> int:
        """Number of pictures, also of those without a slice."""
        return int(self.pictures[-1]) + 1 if len(self.pictures) else 0


@dataclass
class _Sets:
    """Parameter sets and messages as they come, and the pairs of sets that slices have used."""

    sequences: dict[int, SequenceParameters] = field(default_factory=dict)
    pictures: dict[int, PictureParameters] = field(default_factory=dict)
    index: dict[tuple[SequenceParameters, PictureParameters], int] = field(default_factory=dict)
    messages: set[int] = field(default_factory=set)

    def add(self, unit: bytes) -> None:
        if unit[0] & 31 == _SPS:
            sequence = read_sequence_parameters(unit)
            self.sequences[sequence.id] = sequence
        else:
            picture = read_picture_parameters(unit)
            self.pictures[picture.id] = picture

    def index_for(self, unit: bytes) -> int:
        """Index of the pair that a slice uses."""
        bits = BitReader(unit[:32], "slice header")
        bits.ue(1 << 20, "first_mb_in_slice")
        bits.ue(9, "slice_type")
        picture = self.pictures.get(bits.ue(255, "pic_parameter_set_id"))
        sequence = None if picture is None else self.sequences.get(picture.sequence_id)
        if picture is None or sequence is None:
            raise H264Error("a slice refers to a parameter set that is missing")
        return self.index.setdefault((sequence, picture), len(self.index))


def split_avcc(extradata: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Read an AVCDecoderConfigurationRecord (ISO/IEC 14496-15).

    Returns:
        The size in bytes of a NAL unit's length, and parameter sets, each with the nal_unit_type that it must
        have.

    Raises:
        H264Error: it is damaged.
        UnsupportedH264Error: the extradata are of another form.
    """
    if len(extradata) < 7 or extradata[0] != 1:
        raise UnsupportedH264Error("extradata that are no AVCDecoderConfigurationRecord")
    position, units = 5, []
    try:
        for kind, mask in ((_SPS, 31), (_PPS, 255)):
            count, position = extradata[position] & mask, position + 1
            for _ in range(count):
                length = int.from_bytes(extradata[position : position + 2], "big")
                units.append((kind, extradata[position + 2 : position + 2 + length]))
                position += 2 + length
    except IndexError:
        raise H264Error("the decoder configuration record ends too early") from None
    if position > len(extradata) or not all(unit for _, unit in units):
        raise H264Error("the decoder configuration record ends too early")
    return 1 + (extradata[4] & 3), units


def split_packet(packet: bytes, length_size: int) -> list[bytes]:
    """The NAL units of a packet.

    Raises:
        H264Error: their lengths do not add up to the packet's.
    """
    units, position = [], 0
    while position < len(packet):
        start = position + length_size
        position = start + int.from_bytes(packet[position:start], "big")
        if not start < position <= len(packet):
            raise H264Error("a NAL unit's length does not fit its packet")
        units.append(packet[start:position])
    return units


def to_annex_b(extradata: bytes, packets: Iterable[bytes]) -> list[bytes]:
    """Access units with start codes instead of lengths (Annex B), the parameter sets before the first one.

    Raises:
        H264Error: see :func:`split_avcc` and :func:`split_packet`.
    """
    length_size, units = split_avcc(extradata)
    parts = [[_START_CODE + unit for unit in split_packet(packet, length_size)] for packet in packets]
    if parts:
        parts[0][:0] = [_START_CODE + unit for _, unit in units]
    return [b"".join(part) for part in parts]


def read_bitstream(
    extradata: bytes, packets: Sequence[bytes], ranks: Sequence[int] | None = None
) -> Bitstream:
    """Split a stream into slices.

    Args:
        extradata: an AVCDecoderConfigurationRecord.
        packets: access units in decoding order, NAL units with their lengths before them.
        ranks: of each packet, anything that rises with the time at which its picture is displayed. None: the
            times are not known, and the order of pictures is not checked.

    Raises:
        H264Error: a parameter set or NAL unit is damaged; the message says in which picture.
        UnsupportedH264Error: the parser does not know such streams.
    """
    length_size, units = split_avcc(extradata)
    sets = _Sets()
    for kind, parameter_set in units:
        header = parameter_set[0]
        if header & 31 != kind or header & 128 or not header & 96:
            raise H264Error("a parameter set of the header is none")
        sets.add(unescape(parameter_set))
    slices: list[tuple[int, ...]] = []
    pictures: list[int] = []
    parts: list[bytes] = []
    word = 0
    for index, packet in enumerate(packets):
        try:
            before = len(slices)
            for escaped in split_packet(packet, length_size):
                unit = _read_unit(escaped, sets)
                if unit is None:
                    continue
                num_words = -(-len(unit) // _WORD)
                last_bit = 8 * len(unit) - (unit[-1] & -unit[-1]).bit_length()
                kind, importance = unit[0] & 31, unit[0] >> 5
                slices.append((word, num_words, last_bit, sets.index_for(unit), kind, importance))
                pictures.append(index)
                parts += [unit, bytes(num_words * _WORD - len(unit))]
                word += num_words
            if len(slices) == before:
                raise H264Error("no slice")
        except UnsupportedH264Error:
            raise
        except H264Error as error:
            raise H264Error(f"picture {index}: {error}") from None
    if not slices:
        raise H264Error("no picture")
    pairs = list(sets.index)
    return Bitstream(
        data=b"".join(parts),
        slices=np.array(slices, SLICE),
        params=np.array([params_record(*pair) for pair in pairs], PARAMS),
        pictures=np.array(pictures),
        sequences=tuple(sequence for sequence, _ in pairs),
        messages=frozenset(sets.messages),
        ranks=None if ranks is None else tuple(ranks),
    )


def _read_unit(escaped: bytes, sets: _Sets) -> bytes | None:
    """A slice, unescaped. None for other NAL units, which are checked, and whose parameter sets are kept."""
    header = escaped[0]
    kind, importance = header & 31, header >> 5
    if header & 128:
        raise H264Error("forbidden_zero_bit is 1")
    if kind in (_SLICE, IDR_SLICE):
        if kind == IDR_SLICE and not importance:
            raise H264Error("nal_ref_idc of an IDR picture is 0")
        return unescape(escaped)
    if kind in _PARTITIONS or kind > 12 or kind == 0:
        raise UnsupportedH264Error(f"NAL units of type {kind}")
    if kind in (_SPS, _PPS):
        sets.add(unescape(escaped))
    elif importance:
        raise H264Error(f"nal_ref_idc of a NAL unit of type {kind} is not 0")
    elif kind == _SEI:
        sets.messages |= _message_types(unescape(escaped))
    else:
        assert kind in _DELIMITERS
    return None


def _message_types(unit: bytes) -> set[int]:
    """The payloadType of each message of supplemental enhancement information.

    Raises:
        H264Error: the messages do not fill their NAL unit.
    """
    position, end = 1, len(unit) - 1  # rbsp_trailing_bits() are one byte, as messages are whole bytes
    if unit[-1] != 128:
        raise H264Error("supplemental enhancement information does not end as it must")
    found = set()
    while position < end:
        numbers = []
        for _ in range(2):  # payloadType and payloadSize: bytes of 255, and a smaller one
            number = 0
            while position < end and unit[position] == 255:
                number, position = number + 255, position + 1
            if position >= end:
                raise H264Error("supplemental enhancement information ends too early")
            numbers.append(number + unit[position])
            position += 1
        found.add(numbers[0])
        position += numbers[1]
    if position != end:
        raise H264Error("supplemental enhancement information ends too early")
    return found
