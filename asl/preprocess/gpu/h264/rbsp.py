"""NAL units without their emulation prevention bytes, and the syntax elements in them (7.2, 7.4.1, 9.1)."""

from __future__ import annotations

import numpy as np


class H264Error(Exception):
    """What is wrong with a stream, and where."""


class UnsupportedH264Error(H264Error):
    """A stream of a kind that the parser does not know; it may be sound."""


def unescape(nal_unit: bytes) -> bytes:
    """A NAL unit without emulation prevention bytes and without the zero bytes at its end.

    Raises:
        H264Error: it is empty, or holds bytes that no NAL unit may hold (7.4.1).
    """
    unit = nal_unit.rstrip(b"\0")  # trailing_zero_8bits, which some files keep
    data = np.frombuffer(unit, np.uint8)
    pairs = np.flatnonzero((data[:-1] | data[1:]) == 0)  # of zero bytes; the last byte is not zero
    if len(pairs):
        if data[pairs + 2].min() < 3:
            raise H264Error("a start code within a NAL unit")
        unit = unit.replace(b"\0\0\3", b"\0\0").rstrip(b"\0")  # cabac_zero_words
    if len(unit) < 2:
        raise H264Error("an empty NAL unit")
    return unit


class BitReader:
    """Reads the syntax elements of a parameter set or message.

    Args:
        nal_unit: without emulation prevention bytes; reading begins behind its first byte.
        name: of the structure, for errors.

    Every method raises :class:`H264Error` if the data end.
    """

    def __init__(self, nal_unit: bytes, name: str) -> None:
        self._value = int.from_bytes(nal_unit, "big")
        self._left = 8 * len(nal_unit) - 8  # bits not yet read
        last = nal_unit[-1]
        self._trailing = (last & -last).bit_length()  # rbsp_stop_one_bit and the zeros behind it
        self._name = name

    def u(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number."""
        self._left -= count
        if self._left < 0:
            raise H264Error(f"the {self._name} ends too early")
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self, most: int, name: str) -> int:
        """ue(v). Raises H264Error with ``name`` if it is above ``most``."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        value = (1 << zeros) - 1 + (self.u(zeros) if zeros else 0)
        self.require(value <= most, name)
        return value

    def se(self, least: int = -(1 << 31), most: int = 1 << 31, name: str = "number") -> int:
        """se(v). Raises H264Error with ``name`` if it is outside of ``least`` to ``most``."""
        code = self.ue(1 << 32, name)
        value = (code + 1) // 2 if code % 2 else -(code // 2)
        self.require(least <= value <= most, name)
        return value

    def has_more(self) -> bool:
        """more_rbsp_data()"""
        return self._left > self._trailing

    def end(self) -> None:
        """Raise H264Error unless only rbsp_trailing_bits() are left."""
        self.require(self._left == self._trailing, "end")

    def require(self, holds: bool, name: str) -> None:
        """Raise H264Error that names the structure and the element, unless ``holds``."""
        if not holds:
            raise H264Error(f"the {self._name}'s {name} is not allowed")

    def support(self, holds: bool, name: str) -> None:
        """Raise UnsupportedH264Error that names what is not known, unless ``holds``."""
        if not holds:
            raise UnsupportedH264Error(name)
