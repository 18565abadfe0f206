"""Clips that are segments of a source: decoded with NVDEC, encoded by the encoder of the run.

Segments of one source that follow each other are decoded in one pass, from the IDR picture before the first
of them. A second thread encodes the pictures as they come, so neither waits for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event

from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from asl.codecs.encode import encode_read_segment
from asl.codecs.packets import PacketSource, SuppliedSegment, open_packets, read_packets
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames
from asl.preprocess.clips.cut import check_end
from asl.preprocess.clips.plan import Cut
from asl.preprocess.gpu.h264.bitstream import (
    IDR_SLICE,
    PARAMETER_SETS,
    Bitstream,
    read_bitstream,
    split_avcc,
    split_packet,
)
from asl.preprocess.gpu.h264.rbsp import H264Error
from asl.preprocess.gpu.nvdec.candidate import (
    Candidate,
    ClipFiles,
    FrameGrid,
    Refusal,
    proof_pictures,
    prove_decoded,
    refusing,
)
from asl.preprocess.gpu.nvdec.clip_decoder import ClipDecoder, Part
from asl.preprocess.gpu.nvdec.stream_format import NvdecError

_AHEAD = 8  # frames that may wait for the encoder
_POLL_S = 0.1  # how often a waiting thread looks whether the other one has given up

_CLOSED_CAPTIONS = 4  # payloadType of messages that FFmpeg's encoder copies, which NVDEC does not give


@dataclass
class _Segment:
    """A segment, and what has been made of it."""

    cut: Cut
    frames: range  # of the source, in display order
    first: int  # packets of the source that have to be decoded
    stop: int
    stream: Bitstream  # of these packets
    grid: FrameGrid
    files: ClipFiles
    small: Frames | None = None  # for training
    encoded: Timeline | VideoError = field(default_factory=lambda: VideoError("was not encoded"))


class SegmentMaker:
    """Makes clips of segments. Each thread needs one of its own.

    Args:
        decoder: of the same thread.
    """

    def __init__(self, decoder: ClipDecoder) -> None:
        self._decoder = decoder

    def make(self, cuts: Sequence[Cut]) -> list[Candidate | Refusal]:
        """Make clips of one source."""
        made: dict[str, Candidate | Refusal] = {}
        opened = refusing(lambda: self._make(cuts, made))
        if isinstance(opened, Refusal):
            made = {**{cut.video_id: opened for cut in cuts}, **made}
        return [made[cut.video_id] for cut in cuts]

    def _make(self, cuts: Sequence[Cut], made: dict[str, Candidate | Refusal]) -> None:
        """Add the result of each clip to ``made``."""
        with open_packets(cuts[0].source) as source:
            idr_packets = _idr_packets(source)
            if idr_packets[:1] != [0]:  # the first frame that a decoder gives, and with it time 0, is another
                raise NvdecError("does not begin with an IDR picture")
            segments = []
            for cut in cuts:
                prepared = refusing(lambda cut=cut: _prepare(cut, source, idr_packets))  # type: ignore[misc]
                if isinstance(prepared, Refusal):
                    made[cut.video_id] = prepared
                else:
                    segments.append(prepared)
            for together in _passes(segments):
                with ExitStack() as stack:
                    for segment in together:
                        stack.enter_context(segment.files)
                    failed = refusing(lambda together=together: self._decode(source, together))  # type: ignore[misc]
                    for segment in together:
                        made[segment.cut.video_id] = (
                            failed
                            if isinstance(failed, Refusal)
                            else refusing(lambda segment=segment: self._finish(segment))  # type: ignore[misc]
                        )

    def _decode(self, source: PacketSource, segments: Sequence[_Segment]) -> None:
        """Decode the source once for all segments, and encode them."""
        part = Part(
            source.packets,
            min(segment.first for segment in segments),
            max(segment.stop for segment in segments),
            segments[0].stream,
        )
        whole = {frame for segment in segments for frame in segment.frames}
        wanted = [one for segment in segments for one in segment.grid.wanted()]
        handover = _Handover()
        with ThreadPoolExecutor(1) as thread:
            encoding = thread.submit(_encode_all, source, segments, handover)
            try:
                pictures = self._decoder.decode(
                    part,
                    wanted,
                    whole=whole,
                    on_whole=lambda frame, planes: handover.put(source.frame(frame, planes)),
                )
            finally:
                handover.end()
                encoding.result()
        for segment in segments:
            segment.small = segment.grid.collect(pictures)

    def _finish(self, segment: _Segment) -> Candidate:
        """Decode the encoded clip for its proof."""
        cut, files = segment.cut, segment.files
        if isinstance(segment.encoded, VideoError):
            raise segment.encoded
        check_end(cut, segment.encoded)
        packets = read_packets(files.part)
        stream = read_bitstream(packets.extradata, packets.data, packets.ranks)
        pictures = self._decoder.decode(Part(packets, 0, len(packets.data), stream), proof_pictures(packets))
        proof = prove_decoded(files.part, cut, segment.encoded, packets, stream, pictures, copied=False)
        segment.grid.write(files, cut, segment.small, proof)
        files.store(segment.stream, f"source, from packet {segment.first}")
        files.store(stream, "clip")
        return files.keep(proof)


class _Handover:
    """Frames from the thread that decodes to the thread that encodes."""

    def __init__(self) -> None:
        self._queue: Queue[VideoFrame] = Queue(_AHEAD)
        self._has_ended, self._is_given_up = Event(), Event()

    def put(self, frame: VideoFrame) -> None:
        """Put a frame, once there is room. Raises NvdecError if no frame is taken any more."""
        while not self._is_given_up.is_set():
            try:
                return self._queue.put(frame, timeout=_POLL_S)
            except Full:
                continue
        raise NvdecError("cannot be encoded")

    def end(self) -> None:
        """Say that no frame follows."""
        self._has_ended.set()

    def give_up(self) -> None:
        """Say that no frame is taken any more."""
        self._is_given_up.set()

    def __iter__(self) -> Iterator[VideoFrame]:
        while True:
            try:
                yield self._queue.get(timeout=_POLL_S)
            except Empty:
                if self._has_ended.is_set() and self._queue.empty():
                    return


@dataclass(frozen=True)
class _SuppliedReader:
    """Gives one segment to :func:`asl.codecs.encode.encode_read_segment`."""

    source: PacketSource
    frames: Iterator[VideoFrame]

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def audio(self) -> AudioStream | None:
        return self.source.audio

    def segment(self, start_s: Fraction, end_s: Fraction | None) -> SuppliedSegment:
        return self.source.segment(start_s, end_s, self.frames)


def _encode_all(source: PacketSource, segments: Sequence[_Segment], handover: _Handover) -> None:
    """Encode the segments one after another, as their pictures come."""
    coming = iter(handover)
    try:
        for segment in segments:
            cut, frames = segment.cut, islice(coming, len(segment.frames))
            try:
                segment.encoded = encode_read_segment(
                    _SuppliedReader(source, frames),
                    segment.files.part,
                    start_s=cut.start_s,
                    end_s=cut.end_s,
                    encoder=cut.encoder,
                    audio=cut.audio,
                    on_frame=None,
                )
            except VideoError as error:
                segment.encoded = error
            for _ in frames:  # that a failed encoder has left
                pass
    finally:
        handover.give_up()


def _idr_packets(source: PacketSource) -> list[int]:
    """Indices of the packets with IDR pictures, without damaged ones, which the parser of their part reports.

    Raises:
        NvdecError: parameter sets change within the source, so that parts need others than the header's.
    """
    length_size, header = split_avcc(source.packets.extradata)
    known = {unit for _, unit in header}
    found = []
    for index, packet in enumerate(source.packets.data):
        try:
            units = split_packet(packet, length_size)
        except H264Error:
            continue
        kinds = [unit[0] & 31 for unit in units]
        if any(kind in PARAMETER_SETS and unit not in known for kind, unit in zip(kinds, units, strict=True)):
            raise NvdecError("parameter sets that change")
        if IDR_SLICE in kinds:
            found.append(index)
    return found


def _prepare(cut: Cut, source: PacketSource, idr_packets: Sequence[int]) -> _Segment:
    """What a segment needs of its source.

    Raises:
        NvdecError: its pictures would not be those of the host.
        H264Error: see :func:`asl.preprocess.gpu.h264.bitstream.read_bitstream`.
    """
    packets, frames = source.packets, source.frames_in(cut.start_s, cut.end_s)
    if not frames:
        raise NvdecError("shows no frame in the segment")
    if packets.info.pix_fmt != "yuv420p":
        raise NvdecError(f"pixel format {packets.info.pix_fmt}")
    needed = [index for index, rank in enumerate(packets.ranks) if rank in frames]
    starts = [index for index in idr_packets if index <= needed[0]]
    if not starts:
        raise NvdecError("has no IDR picture before the segment")
    first, stop = starts[-1], needed[-1] + 1
    stream = read_bitstream(packets.extradata, packets.data[first:stop], packets.ranks[first:stop])
    if _CLOSED_CAPTIONS in stream.messages:
        raise NvdecError("closed captions")
    return _Segment(
        cut=cut,
        frames=frames,
        first=first,
        stop=stop,
        stream=stream,
        grid=FrameGrid.of(cut, packets),
        files=ClipFiles(cut),
    )


def _passes(segments: Sequence[_Segment]) -> Iterator[list[_Segment]]:
    """Segments that one pass decodes: each begins where the one before ends or later, without a gap."""
    together: list[_Segment] = []
    for segment in sorted(segments, key=lambda one: (one.frames.start, one.frames.stop)):
        if together:
            last = together[-1]
            if segment.frames.start < last.frames.stop or segment.first > last.stop:
                yield together
                together = []
        together.append(segment)
    if together:
        yield together
