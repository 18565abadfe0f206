"""Make one clip with NVDEC: copy its source, decode the copy, and make small pictures of what is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.codecs.decoder import DecodedFile
from asl.codecs.packets import Packets, read_packets
from asl.codecs.stream_copy import copy_video
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import write_frames
from asl.files import temp_path
from asl.preprocess.clips import fingerprint, thumbnails
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, proof_of
from asl.preprocess.gpu.cuda import Device, DeviceBuffer, GpuError, Kernel, PinnedBuffer
from asl.preprocess.gpu.frame_jobs import frame_numbers
from asl.preprocess.gpu.h264.bitstream import Bitstream, read_bitstream, to_annex_b
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error
from asl.preprocess.gpu.nvdec.decoder import MappedPicture, NvDecoder
from asl.preprocess.gpu.nvdec.pictures import Nv12Picture, grey_arguments, rgb_arguments
from asl.preprocess.gpu.nvdec.stream_format import NvdecError
from asl.preprocess.gpu.verify import unverified_path

_CHANNELS = 3
_UNSPECIFIED_MATRIX = 2  # ITU-T H.273


@dataclass(frozen=True)
class Candidate:
    """A clip that is made but not proven: its slices have not been parsed.

    Everything lies under temporary names.
    """

    proof: Proof  # what it will be if the parser finds nothing
    part: Path  # the clip
    frames: Path | None  # its frames for training; None: none were asked for
    slices: Path  # the data of ``stream``, which is left without
    stream: Bitstream

    def discard(self) -> None:
        """Remove the files."""
        for path in (self.part, self.frames, self.slices):
            if path is not None:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Refusal:
    """A clip that the host has to make, and why."""

    reason: str  # short, the same for all clips that it concerns
    bitstream: str = ""  # what the headers of the stream break; "": nothing


@dataclass(frozen=True)
class _Pictures:
    """Which pictures of a clip are wanted, by index in display order, and where their results lie."""

    frames: npt.NDArray[np.int32]  # (T,), rising; repeated where a frame is shown at several grid points
    frame_size: tuple[int, int]  # height, width
    grey: list[int]
    shown: list[int]
    shown_size: tuple[int, int]

    def slots(self) -> list[tuple[int, str, int]]:
        """(picture, kernel, bytes) of each result, in the order in which they lie in memory."""
        (height, width), (shown_height, shown_width) = self.frame_size, self.shown_size
        side = fingerprint.SIDE
        return [
            *((i, "frame", height * width * _CHANNELS) for i in np.unique(self.frames).tolist()),
            *((i, "shown", shown_height * shown_width * _CHANNELS) for i in self.shown),
            *((i, "grey", side * side) for i in self.grey),
        ]


class CandidateMaker:
    """Makes clips one after another. Each thread needs one of its own.

    Args:
        device: the GPU.
        kernels: those of :mod:`asl.preprocess.gpu.nvdec.pictures`.
    """

    def __init__(self, device: Device, kernels: Mapping[str, Kernel]) -> None:
        self._device, self._kernels = device, kernels
        self._decoder = NvDecoder(device)
        self._results: DeviceBuffer | None = None
        self._pinned: PinnedBuffer | None = None

    def warm_up(self) -> None:
        """Make the NVDEC session. Raises GpuError if the GPU cannot be used."""
        self._decoder.warm_up()

    def make(self, cut: Cut) -> Candidate | Refusal:
        """Make a clip of a whole source that can be copied."""
        part = temp_path(cut.target)
        slices = part.with_suffix(".slices")
        frames = unverified_path(cut.frames.path) if cut.frames else None
        unfinished = Candidate(_NO_PROOF, part, frames, slices, _NO_STREAM)
        try:
            return self._make(cut, unfinished)
        except UnsupportedH264Error as error:
            refusal = Refusal(f"the parser does not know {error}")
        except H264Error as error:
            refusal = Refusal("bitstream", str(error))
        except VideoError as error:
            refusal = Refusal(error.reason)
        except NvdecError as error:
            refusal = Refusal(str(error))
        except GpuError as error:
            refusal = Refusal("not enough GPU memory" if error.out_of_memory else f"GPU: {error}"[:200])
        except OSError as error:
            refusal = Refusal(f"not writable: {error.strerror or error}")
        except BaseException:
            unfinished.discard()
            raise
        unfinished.discard()
        return refusal

    def _make(self, cut: Cut, paths: Candidate) -> Candidate:
        cut.target.parent.mkdir(parents=True, exist_ok=True)
        expected = copy_video(cut.source, paths.part, audio=cut.audio)
        packets = read_packets(paths.part)
        stream = read_bitstream(packets.extradata, packets.data)
        pictures = _wanted_pictures(cut, packets)
        memory, offsets = self._decode(packets, stream, pictures)
        decoded = _decoded_file(packets, pictures, memory, offsets)
        proof = proof_of(decoded, paths.part, cut, expected, copied=True)
        if cut.frames is not None and paths.frames is not None:
            numbers, positions = np.unique(pictures.frames, return_inverse=True)
            height, width = pictures.frame_size
            small = memory[: len(numbers) * height * width * _CHANNELS].reshape(-1, height, width, _CHANNELS)
            fps = cut.frames.spec.fps
            first = packets.timeline.times[0]
            times_s = [
                float(packets.timeline.times[i] - first) if fps is None else k / fps
                for k, i in enumerate(pictures.frames.tolist())
            ]
            write_frames(paths.frames, small[positions], times_s, cut.frames.origin)
        paths.slices.write_bytes(stream.data)
        return replace(paths, proof=proof, stream=replace(stream, data=b""))

    def _decode(
        self, packets: Packets, stream: Bitstream, pictures: _Pictures
    ) -> tuple[npt.NDArray[np.uint8], dict[tuple[int, str], int]]:
        """Decode, and make all results. Returns them, valid until the next call, and their byte offsets."""
        offsets: dict[tuple[int, str], int] = {}
        total = 0
        for index, kind, nbytes in pictures.slots():
            offsets.setdefault((index, kind), total)
            total += nbytes
        results, pinned = self._memory(total)
        location = stream.sequences[0].chroma_location
        sizes = {"frame": pictures.frame_size, "shown": pictures.shown_size}

        def on_picture(picture: MappedPicture) -> None:
            if packets.ranks[picture.decoded_as] != picture.index:
                raise NvdecError("shows its pictures in another order than its time stamps say")
            surface = Nv12Picture(
                pointer=picture.pointer,
                pitch=picture.pitch,
                chroma_offset=picture.chroma_offset,
                width=picture.width,
                height=picture.height,
            )
            for kind, size in sizes.items():
                offset = offsets.get((picture.index, kind))
                if offset is not None:
                    launch = rgb_arguments(
                        surface,
                        results.pointer + offset,
                        size,
                        matrix=packets.color_matrix,
                        chroma_location=location,
                    )
                    self._kernels["rgb_resize"].launch(*launch, self._decoder.stream)
            offset = offsets.get((picture.index, "grey"))
            if offset is not None:
                grey = grey_arguments(surface, results.pointer + offset, fingerprint.SIDE)
                self._kernels["grey_cells"].launch(*grey, self._decoder.stream)

        wanted = {index for index, _ in offsets}
        clip = self._decoder.decode(
            to_annex_b(packets.extradata, packets.data), "h264", on_picture, wanted=wanted.__contains__
        )
        if clip.bad_pictures:
            raise NvdecError("has pictures that NVDEC reports as damaged")
        if clip.num_pictures != len(packets.data):
            raise NvdecError("gives another number of pictures than it has packets")
        if (clip.width, clip.height) != (packets.info.width, packets.info.height):
            raise NvdecError("has pictures of another size than its header says")
        return results.download(self._decoder.stream, total, into=pinned.array), offsets

    def _memory(self, nbytes: int) -> tuple[DeviceBuffer, PinnedBuffer]:
        """Memory for the results on the device and on the host, kept from clip to clip."""
        if self._results is None or self._pinned is None or self._results.nbytes < nbytes:
            for buffer in (self._results, self._pinned):
                if buffer is not None:
                    buffer.free()
            self._results = DeviceBuffer(self._device, nbytes + nbytes // 2)
            self._pinned = PinnedBuffer(self._device, nbytes + nbytes // 2)
        return self._results, self._pinned


def _wanted_pictures(cut: Cut, packets: Packets) -> _Pictures:
    timeline, info = packets.timeline, packets.info
    count = len(timeline.times)
    frames, size = np.empty(0, np.int32), (0, 0)
    if cut.frames is not None:
        spec = cut.frames.spec
        frames = frame_numbers(timeline.times, timeline.end, Fraction(0), None, spec.fps)
        size = spec.size(info.width, info.height)
    scale = thumbnails.SIDE / max(info.width, info.height)
    return _Pictures(
        frames=frames,
        frame_size=size,
        grey=fingerprint.frames_to_keep(count),
        shown=thumbnails.frames_to_show(count),
        shown_size=(max(1, round(info.height * scale)), max(1, round(info.width * scale))),
    )


def _decoded_file(
    packets: Packets,
    pictures: _Pictures,
    memory: npt.NDArray[np.uint8],
    offsets: Mapping[tuple[int, str], int],
) -> DecodedFile:
    """What decoding on the host gives as well."""

    def result(index: int, kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        start = offsets[index, kind]
        return memory[start : start + int(np.prod(shape))].reshape(shape)

    side = fingerprint.SIDE
    return DecodedFile(
        timeline=packets.timeline,
        info=packets.info,
        thumbnails=np.stack([result(i, "grey", (side, side)) for i in pictures.grey]),
        pictures=tuple(result(i, "shown", (*pictures.shown_size, _CHANNELS)) for i in pictures.shown),
    )


_NO_PROOF: Any = None  # of a candidate that is not finished
_NO_STREAM: Any = None
