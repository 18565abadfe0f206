"""Decode streams with NVDEC, and make small pictures of what is decoded on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asl.codecs.packets import Packets, Planes
from asl.contract.frame_store import part_pixels
from asl.contract.manifest import Box
from asl.preprocess.clips import fingerprint
from asl.preprocess.gpu.cuda import Device, DeviceBuffer, Kernel, PinnedBuffer, PreparedKernel
from asl.preprocess.gpu.h264.bitstream import Bitstream, to_annex_b
from asl.preprocess.gpu.nvdec.decoder import MappedPicture, NvDecoder
from asl.preprocess.gpu.nvdec.pictures import (
    GREY_OUT,
    RGB_OUT,
    Nv12Picture,
    grey_arguments,
    rgb_arguments,
    set_picture,
)
from asl.preprocess.gpu.nvdec.stream_format import NvdecError


class Rgb(NamedTuple):
    """An RGB picture of a frame."""

    size: tuple[int, int]  # height, width
    part: Box | None = None  # of the frame; None: all of it


#: (frame, picture): what is wanted of the frame at that index in display order. None: a grey picture for the
#: fingerprint.
Wanted = tuple[int, Rgb | None]

Pictures = Mapping[Wanted, npt.NDArray[np.uint8]]  # (H, W, 3), or (SIDE, SIDE) of grey ones

_CHANNELS = 3
_UNSPECIFIED = 2  # matrix in ITU-T H.273

#: Most bytes of pictures of one part, on the device and on the host. Longer clips are left to the host.
_MOST_BYTES = 1 << 29


@dataclass(frozen=True)
class Part:
    """Packets of a video that can be decoded on their own: they begin with an IDR picture."""

    packets: Packets  # of the whole video
    first: int  # index of the first packet
    stop: int  # index behind the last one
    stream: Bitstream  # of these packets

    def frames(self) -> list[int]:
        """Indices in display order of the video's frames that are decoded, rising."""
        return sorted(self.packets.ranks[self.first : self.stop])


class ClipDecoder:
    """Decodes one part after another, with memory that is kept. Each thread needs one of its own.

    Args:
        device: the GPU.
        kernels: those of :mod:`asl.preprocess.gpu.nvdec.pictures`.
    """

    def __init__(self, device: Device, kernels: Mapping[str, Kernel]) -> None:
        self._device, self._kernels = device, kernels
        self._decoder = NvDecoder(device)
        self._results: DeviceBuffer | None = None
        self._pinned: PinnedBuffer | None = None
        self._surface: PinnedBuffer | None = None

    def warm_up(self) -> None:
        """Make the NVDEC session. Raises GpuError if the GPU cannot be used."""
        self._decoder.warm_up()

    def decode(
        self,
        part: Part,
        wanted: Iterable[Wanted],
        *,
        whole: Collection[int] = (),
        on_whole: Callable[[int, Planes], None] | None = None,
    ) -> Pictures:
        """Decode a part, and make pictures of its frames.

        Args:
            part: what to decode.
            wanted: the pictures; frames by their index in the whole video.
            whole: frames that are copied to the host in full.
            on_whole: called with each of these and its planes, in display order. The planes are valid until
                the next call.

        Returns:
            The pictures. They are valid until the next call.

        Raises:
            NvdecError: NVDEC cannot decode the part, or reports damage.
            GpuError: CUDA failed.
        """
        if any(sequence.lossless for sequence in part.stream.sequences):
            raise NvdecError("lossless pictures")  # which no profile that NVDEC decodes has
        offsets, total = _lay_out(wanted)
        if total > _MOST_BYTES:
            raise NvdecError("has more frames than are kept at once")
        results, pinned = self._memory(total)
        by_frame: dict[int, list[Wanted]] = {}
        for one in offsets:
            by_frame.setdefault(one[0], []).append(one)
        frames, packets = part.frames(), part.packets

        kernels: dict[Rgb | None, PreparedKernel] = {}

        def on_picture(picture: MappedPicture) -> None:
            frame = frames[picture.index]
            if packets.ranks[part.first + picture.decoded_as] != frame:
                raise NvdecError("shows its pictures in another order than its time stamps say")
            for one in by_frame.get(frame, ()):
                _, rgb = one
                if rgb not in kernels:
                    kernels[rgb] = self._prepare(picture, rgb, part)
                kernel = kernels[rgb]
                set_picture(kernel.values, picture.pointer, picture.pitch)
                out = kernel.values[GREY_OUT if rgb is None else RGB_OUT]
                out.value = results.pointer + offsets[one]
                kernel.launch(self._decoder.stream)
            if on_whole is not None and frame in whole:
                on_whole(frame, self._download(picture))

        def is_wanted(index: int) -> bool:
            return index < len(frames) and (frames[index] in by_frame or frames[index] in whole)

        data = to_annex_b(packets.extradata, packets.data[part.first : part.stop])
        clip = self._decoder.decode(data, "h264", on_picture, wanted=is_wanted)
        if clip.bad_pictures:
            raise NvdecError("has pictures that NVDEC reports as damaged")
        if clip.num_pictures != len(frames):
            raise NvdecError("gives another number of pictures than it has packets")
        if (clip.width, clip.height) != (packets.info.width, packets.info.height):
            raise NvdecError("has pictures of another size than its header says")
        memory = results.download(self._decoder.stream, total, into=pinned.array)
        return {
            one: memory[offset : offset + _nbytes(one)].reshape(_shape(one))
            for one, offset in offsets.items()
        }

    def _prepare(self, picture: MappedPicture, rgb: Rgb | None, part: Part) -> PreparedKernel:
        """The kernel that makes a picture of each frame of a part."""
        x, y, width, height = part_pixels(rgb and rgb.part, picture.width, picture.height)
        surface = Nv12Picture(
            pointer=picture.pointer,
            pitch=picture.pitch,
            chroma_offset=picture.chroma_offset,
            width=width,
            height=height,
            x=x,
            y=y,
        )
        color = part.stream.sequences[0].color
        has_matrix = color.matrix_coefficients != _UNSPECIFIED
        if rgb is None:
            grey = grey_arguments(surface, 0, fingerprint.SIDE, full_range=color.full_range)
            return self._kernels["grey_cells"].prepare(*grey)
        arguments = rgb_arguments(
            surface,
            0,
            rgb.size,
            matrix=color.matrix_coefficients if has_matrix else part.packets.color_matrix,
            full_range=color.full_range,
            chroma_location=color.chroma_location,
        )
        return self._kernels["rgb_resize"].prepare(*arguments)

    def _download(self, picture: MappedPicture) -> Planes:
        """The planes of a picture, on the host."""
        width, height, pitch = picture.width, picture.height, picture.pitch
        # To the end of the last visible row: more may not belong to the surface.
        nbytes = picture.chroma_offset + (height // 2 - 1) * pitch + width
        if self._surface is None or len(self._surface.array) < nbytes:
            if self._surface is not None:
                self._surface.free()
            self._surface = None
            self._surface = PinnedBuffer(self._device, nbytes + nbytes // 4)
        array = self._surface.array
        self._device.download(picture.pointer, self._decoder.stream, into=array[:nbytes])
        rows = np.lib.stride_tricks.as_strided
        chroma = array[picture.chroma_offset :]
        return rows(array, (height, width), (pitch, 1)), rows(chroma, (height // 2, width), (pitch, 1))

    def _memory(self, nbytes: int) -> tuple[DeviceBuffer, PinnedBuffer]:
        """Memory for pictures on the device and on the host, kept from call to call."""
        if self._results is None or self._pinned is None or self._results.nbytes < nbytes:
            for buffer in (self._results, self._pinned):
                if buffer is not None:
                    buffer.free()
            self._results = self._pinned = None  # if there is too little memory now
            self._results = DeviceBuffer(self._device, nbytes + nbytes // 2)
            self._pinned = PinnedBuffer(self._device, nbytes + nbytes // 2)
        return self._results, self._pinned


def _lay_out(wanted: Iterable[Wanted]) -> tuple[dict[Wanted, int], int]:
    """Byte offsets of pictures in one buffer, and its size."""
    offsets: dict[Wanted, int] = {}
    total = 0
    for one in wanted:
        if one not in offsets:
            offsets[one] = total
            total += _nbytes(one)
    return offsets, total


def _shape(wanted: Wanted) -> tuple[int, ...]:
    _, rgb = wanted
    return (fingerprint.SIDE, fingerprint.SIDE) if rgb is None else (*rgb.size, _CHANNELS)


def _nbytes(wanted: Wanted) -> int:
    return int(np.prod(_shape(wanted)))
