"""Prove many streams at once: gather their slices, parse them, and judge each stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from asl.preprocess.gpu.cuda import Device, DeviceBuffer, PinnedBuffer, Stream
from asl.preprocess.gpu.h264.bitstream import Bitstream
from asl.preprocess.gpu.h264.layout import ABOVE_BYTES, RESULT
from asl.preprocess.gpu.h264.source import parser_source
from asl.preprocess.gpu.h264.verdict import Verdict, judge

#: Most bytes of slices that are parsed at once; they lie in the device's memory and in the host's.
MAX_BYTES = 256 << 20

#: Most blocks of a launch. An H100 has room for 4,224 blocks of one warp at a time.
_MAX_BLOCKS = 4096

_WORD = 4  # bytes


Item = TypeVar("Item")


class SliceParser(Protocol):
    """Parses slices, on any device."""

    def __call__(
        self, data: Sequence[bytes], slices: npt.NDArray[np.void], params: npt.NDArray[np.void]
    ) -> npt.NDArray[np.void]:
        """Parse slices.

        Args:
            data: what ``first_word`` counts in, in parts of whole words.
            slices: ``(S,)`` SLICE, in any order.
            params: ``(P,)`` PARAMS.

        Returns:
            ``(S,)`` RESULT.
        """


def prove(streams: Sequence[Bitstream], parse: SliceParser) -> list[Verdict]:
    """Judge each stream. The slices of all of them are parsed together, up to :data:`MAX_BYTES` at once."""
    groups = in_groups(streams, lambda stream: len(stream.data))
    return [verdict for group in groups for verdict in _prove_group(group, parse)]


def in_groups(items: Iterable[Item], nbytes: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Consecutive items of up to :data:`MAX_BYTES` together; a larger one is a group of its own.

    Args:
        items: streams, or what stands for them.
        nbytes: size of an item's data.
    """
    group: list[Item] = []
    total = 0
    for item in items:
        if group and total + nbytes(item) > MAX_BYTES:
            yield group
            group, total = [], 0
        group.append(item)
        total += nbytes(item)
    if group:
        yield group


def _prove_group(streams: Sequence[Bitstream], parse: SliceParser) -> list[Verdict]:
    words = np.cumsum([0, *(len(stream.data) // _WORD for stream in streams)])
    pairs = np.cumsum([0, *(len(stream.params) for stream in streams)])
    parts = []
    for stream, first_word, first_pair in zip(streams, words, pairs, strict=False):
        moved = stream.slices.copy()
        moved["first_word"] += np.uint32(first_word)
        moved["params"] += np.uint32(first_pair)
        parts.append(moved)
    slices = np.concatenate(parts)
    # A slice is a sequential job: if the longest came last, the device would idle while it runs.
    order = np.argsort(slices["num_words"])[::-1]
    results = np.empty(len(slices), RESULT)
    params = np.concatenate([stream.params for stream in streams])
    results[order] = parse([stream.data for stream in streams], slices[order], params)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return [judge(stream, part) for stream, part in zip(streams, np.split(results, ends), strict=True)]


class GpuSliceParser:
    """Parses slices on a GPU. Its memory on host and device grows to the largest batch, and is kept.

    Args:
        device: the GPU.
        exact: give each batch memory of exactly its size, so that a memory checker sees accesses behind it.

    Raises:
        GpuError: the kernel cannot be compiled or loaded.
    """

    def __init__(self, device: Device, *, exact: bool = False) -> None:
        self._device, self._exact = device, exact
        self._kernel = device.compile(parser_source(), ["parse_slices"])["parse_slices"]
        self._stream = Stream(device)
        self._buffers: dict[str, DeviceBuffer] = {}
        self._pinned: PinnedBuffer | None = None

    def __call__(
        self, data: Sequence[bytes], slices: npt.NDArray[np.void], params: npt.NDArray[np.void]
    ) -> npt.NDArray[np.void]:
        """Parse slices, see :class:`SliceParser`.

        Raises:
            GpuError: the device has too little memory, or failed.
        """
        count, row_length = len(slices), int(params["mb_width"].max())
        blocks = min(count, _MAX_BLOCKS)
        self._upload_data(data)
        for name, array in (
            ("slices", np.ascontiguousarray(slices)),
            ("params", np.ascontiguousarray(params)),
            ("next", np.zeros(1, np.uint32)),
        ):
            self._buffer(name, array.nbytes).upload(array, self._stream)
        results = self._buffer("results", count * RESULT.itemsize)
        arguments = (
            self._buffers["data"],
            self._buffers["slices"],
            self._buffers["params"],
            results,
            self._buffer("rows", blocks * row_length * ABOVE_BYTES),
            np.uint32(row_length),
            np.uint32(count),
            self._buffers["next"],
        )
        self._kernel.launch(blocks, 32, arguments, self._stream)
        return results.download(self._stream, count * RESULT.itemsize).view(RESULT)

    def _upload_data(self, data: Sequence[bytes]) -> None:
        total = sum(map(len, data))
        if self._pinned is None or len(self._pinned.array) < total:
            if self._pinned is not None:
                self._pinned.free()
            self._pinned = None  # if there is too little memory now
            self._pinned = PinnedBuffer(self._device, _with_room(total))
        target, position = self._pinned.array.data, 0
        for part in data:
            target[position : position + len(part)] = part
            position += len(part)
        self._buffer("data", total).upload(self._pinned.array[:total], self._stream)

    def _buffer(self, name: str, nbytes: int) -> DeviceBuffer:
        """The buffer of that name, of at least ``nbytes``."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < nbytes or (self._exact and buffer.nbytes != nbytes):
            if buffer is not None:
                buffer.free()
                del self._buffers[name]  # if there is too little memory now
            size = nbytes if self._exact else _with_room(nbytes)
            buffer = self._buffers[name] = DeviceBuffer(self._device, size)
        return buffer


def _with_room(nbytes: int) -> int:
    """More than ``nbytes``, so that a slightly larger batch needs no other buffer."""
    return nbytes + nbytes // 4
