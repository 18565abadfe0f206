"""Clips that a GPU made, before their slices are parsed: what they are, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from asl.codecs.decoder import DecodedFile
from asl.codecs.packets import Packets, read_packets
from asl.codecs.stream_copy import copy_video
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames, part_pixels, write_frames
from asl.contract.time_grid import frame_numbers
from asl.files import temp_path
from asl.preprocess.clips import fingerprint, thumbnails
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof, proof_of
from asl.preprocess.gpu.cuda import Device, GpuError, Kernel
from asl.preprocess.gpu.h264.bitstream import Bitstream, read_bitstream
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error
from asl.preprocess.gpu.nvdec.clip_decoder import ClipDecoder, Part, Pictures, Rgb, Wanted
from asl.preprocess.gpu.nvdec.stream_format import NvdecError

Made = TypeVar("Made")


@dataclass(frozen=True)
class StoredStream:
    """A stream whose data lie in a file."""

    path: Path
    stream: Bitstream  # without its data
    name: str  # for findings, of one among several streams
    nbytes: int

    def load(self) -> Bitstream:
        """The stream with its data. Raises OSError."""
        return replace(self.stream, data=self.path.read_bytes())


@dataclass(frozen=True)
class Candidate:
    """A clip that is made but not proven. Its files have temporary names."""

    proof: Proof  # what it will be if the parser finds nothing in the streams
    part: Path  # the clip
    frames: Path | None  # its frames for training; None: none were asked for
    streams: tuple[StoredStream, ...]  # of the clip, and of what it was encoded from

    def discard(self) -> None:
        """Remove the files."""
        _remove(self.part, self.frames, self.streams)


@dataclass(frozen=True)
class Refusal:
    """A clip that the host has to make, and why."""

    reason: str  # short, the same for all clips that it concerns
    bitstream: str = ""  # what the headers of the stream break; "": nothing
    gpu_failed: bool = False  # CUDA failed, and not for lack of memory


class ClipFiles:
    """The files of one clip that is being made, under temporary names.

    A context manager that removes them unless :meth:`keep` was called.
    """

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self.part = temp_path(cut.target)
        self.frames = temp_path(cut.frames.path) if cut.frames else None
        self._streams: list[StoredStream] = []
        self._is_kept = False

    def __enter__(self) -> ClipFiles:
        self._cut.target.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            _remove(self.part, self.frames, self._streams)

    def store(self, stream: Bitstream, name: str = "") -> None:
        """Write the data of a stream that is to be parsed."""
        path = self.part.with_suffix(f".{len(self._streams)}.slices")
        self._streams.append(StoredStream(path, replace(stream, data=b""), name, len(stream.data)))
        path.write_bytes(stream.data)

    def keep(self, proof: Proof) -> Candidate:
        """The finished candidate."""
        self._is_kept = True
        return Candidate(proof, self.part, self.frames, tuple(self._streams))


def _remove(part: Path, frames: Path | None, streams: Iterable[StoredStream]) -> None:
    for path in (part, frames, *(stream.path for stream in streams)):
        if path is not None:
            path.unlink(missing_ok=True)


class CandidateMaker:
    """Makes clips of whole sources, which are copied. Each thread needs one of its own.

    Args:
        device: the GPU.
        kernels: those of :mod:`asl.preprocess.gpu.nvdec.pictures`.
    """

    def __init__(self, device: Device, kernels: Mapping[str, Kernel]) -> None:
        self.decoder = ClipDecoder(device, kernels)

    def make(self, cut: Cut) -> Candidate | Refusal:
        """Make the clip of a whole source."""
        return refusing(lambda: self._make(cut))

    def _make(self, cut: Cut) -> Candidate:
        with ClipFiles(cut) as files:
            expected = copy_video(
                cut.source, files.part, audio=cut.audio, is_yuv420p=cut.can_be_copied_unopened
            )
            packets = read_packets(files.part)
            stream = read_bitstream(packets.extradata, packets.data, packets.ranks)
            grid = FrameGrid.of(cut, packets)
            wanted = [*grid.wanted(), *proof_pictures(packets)]
            pictures = self.decoder.decode(Part(packets, 0, len(packets.data), stream), wanted)
            proof = prove_decoded(files.part, cut, expected, packets, stream, pictures, copied=True)
            grid.write(files, cut, grid.collect(pictures), proof)
            files.store(stream)
            return files.keep(proof)


def refusing(make: Callable[[], Made]) -> Made | Refusal:
    """What ``make`` returns, or why the host has to make the clip."""
    try:
        return make()
    except UnsupportedH264Error as error:
        return Refusal(f"the parser does not know {error}")
    except H264Error as error:
        return Refusal("bitstream", str(error))
    except VideoError as error:
        is_other = error.reason == "damaged source"  # the reason of whatever FFmpeg does not take as it is
        return Refusal("cannot be read or copied as it is" if is_other else error.reason)
    except NvdecError as error:
        return Refusal(str(error))
    except GpuError as error:
        if error.out_of_memory:
            return Refusal("not enough GPU memory")
        return Refusal(f"GPU: {error}"[:200], gpu_failed=True)
    except OSError as error:
        return Refusal(f"not writable: {error.strerror or error}")
    except Exception as error:  # a bug must not cost the clips that are made together with this one
        return Refusal(f"{type(error).__name__}: {error}"[:200])


@dataclass(frozen=True)
class FrameGrid:
    """The frames of a clip that are stored for training."""

    numbers: npt.NDArray[np.int32]  # (T,) indices in the source, rising; some may be repeated
    times_s: Sequence[float]  # (T,) from the clip's first frame
    picture: Rgb

    @classmethod
    def of(cls, cut: Cut, packets: Packets) -> FrameGrid:
        """Those of a clip of the video with these packets; none if ``cut.frames`` is None."""
        if cut.frames is None:
            return cls(np.empty(0, np.int32), (), Rgb((1, 1)))
        spec, timeline = cut.frames.spec, packets.timeline
        numbers = frame_numbers(timeline.times, timeline.end, cut.start_s, cut.end_s, spec.fps)
        if spec.fps is None and len(numbers):
            first = timeline.times[numbers[0]]
            times_s = [float(timeline.times[number] - first) for number in numbers]
        else:
            times_s = [index / (spec.fps or 1) for index in range(len(numbers))]
        part = cut.frames.origin.part
        _, _, width, height = part_pixels(part, packets.info.width, packets.info.height)
        return cls(numbers, times_s, Rgb(spec.size(width, height), part))

    def wanted(self) -> list[Wanted]:
        """The pictures that have to be made, each once."""
        return [(number, self.picture) for number in np.unique(self.numbers).tolist()]

    def collect(self, pictures: Pictures) -> Frames | None:
        """``(T, H, W, 3)``; None if there are none."""
        frames = [pictures[number, self.picture] for number in self.numbers.tolist()]
        return np.stack(frames) if frames else None

    def write(self, files: ClipFiles, cut: Cut, frames: Frames | None, proof: Proof) -> None:
        """Write the frames under a temporary name.

        Raises:
            NvdecError: they are not as many as the proof asks for.
            OSError: they cannot be written.
        """
        if cut.frames is None or frames is None or files.frames is None:
            return
        if len(frames) != cut.frames.spec.count(proof.duration_s, proof.num_frames):
            raise NvdecError("has another number of frames than its clip")
        write_frames(files.frames, frames, self.times_s, cut.frames.origin)


def proof_pictures(packets: Packets) -> list[Wanted]:
    """The pictures that the proof of a clip needs, by its packets."""
    count = len(packets.timeline.times)
    grey: list[Wanted] = [(index, None) for index in fingerprint.frames_to_keep(count)]
    shown: list[Wanted] = [(i, _thumbnail(packets)) for i in thumbnails.frames_to_show(count)]
    return [*grey, *shown]


def prove_decoded(
    part: Path,
    cut: Cut,
    expected: Timeline,
    packets: Packets,
    stream: Bitstream,
    pictures: Pictures,
    *,
    copied: bool,
) -> Proof:
    """The proof of a clip that was decoded on the GPU, see :func:`asl.preprocess.clips.proof.proof_of`."""
    count = len(packets.timeline.times)
    if stream.sequences[0].color.full_range or packets.is_full_range:
        raise NvdecError("has full-range colours")
    decoded = DecodedFile(
        timeline=packets.timeline,
        info=replace(packets.info, pix_fmt="yuv420p"),  # read_bitstream takes nothing else
        thumbnails=np.stack([pictures[index, None] for index in fingerprint.frames_to_keep(count)]),
        pictures=tuple(pictures[i, _thumbnail(packets)] for i in thumbnails.frames_to_show(count)),
    )
    return proof_of(decoded, part, cut, expected, copied=copied)


def _thumbnail(packets: Packets) -> Rgb:
    scale = thumbnails.SIDE / max(packets.info.width, packets.info.height)
    return Rgb((max(1, round(packets.info.height * scale)), max(1, round(packets.info.width * scale))))
