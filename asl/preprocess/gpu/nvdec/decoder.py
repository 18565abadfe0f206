"""Decode clips one after another with one NVDEC session, which is kept from clip to clip.

A new session takes the driver 0.15 to 0.4 s, one after another for all threads and processes; a new size
for a session takes 1.4 ms.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from ctypes import byref, c_void_p
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from asl.preprocess.gpu.cuda import Device, GpuError, Stream
from asl.preprocess.gpu.nvdec import cuvid
from asl.preprocess.gpu.nvdec.session import CuvidError, Session, check
from asl.preprocess.gpu.nvdec.stream_format import NvdecError, StreamFormat, stream_format

#: FFmpeg's names of the codecs that can be decoded, with NVIDIA's numbers. The driver reports the status of a
#: picture for these alone.
CODECS = {"h264": cuvid.CODEC_H264, "hevc": cuvid.CODEC_HEVC}

# The least that a session has memory for, so that few clips need another one.
_LEAST_MAX_WIDTH, _LEAST_MAX_HEIGHT, _LEAST_SURFACES = 1920, 1088, 12
_DISPLAY_DELAY = 2  # pictures decoded ahead of the one that is displayed
_STATUS_TIMEOUT_S, _STATUS_PAUSE_S = 20.0, 0.0002

#: What the driver answers to data that it cannot decode: CUDA_ERROR_INVALID_VALUE, _INVALID_IMAGE,
#: _INVALID_SOURCE, _NOT_SUPPORTED.
_DATA_ERRORS = {1, 200, 300, 801}


@dataclass(frozen=True)
class MappedPicture:
    """A decoded picture in the device's memory: NV12, 8 bits, without the rows and columns that are cropped.

    The rows of the luma plane start at ``pointer + y * pitch``, those of the interleaved chroma plane, half
    as many, at ``pointer + chroma_offset + y * pitch``. Cropping leaves rows unaligned.
    """

    index: int  # in display order, from 0
    decoded_as: int  # in decoding order, from 0: of a sound clip, the index of its access unit
    pointer: int
    pitch: int  # bytes
    chroma_offset: int  # bytes
    width: int  # pixels
    height: int


@dataclass(frozen=True)
class DecodedClip:
    """What is known of a clip once it is decoded."""

    num_pictures: int
    bad_pictures: tuple[int, ...]  # display indices of pictures with errors, concealed or not
    width: int  # pixels, cropped
    height: int
    matrix_coefficients: int  # as in ITU-T H.273; 2: not given
    full_range: bool


class NvDecoder:
    """A video decoder of a GPU, for one thread.

    Attributes:
        stream: where mapped pictures are to be read. They stay as they are until the work that ``on_picture``
            queued there is done, so ``on_picture`` need not wait for it.

    Raises:
        GpuError: the driver has no video decoder.
    """

    def __init__(self, device: Device) -> None:
        self._library, self._device = cuvid.library(), device
        self.stream = Stream(device)
        self._session: Session | None = None
        self._capabilities: dict[int, Any] = {}

    def warm_up(self, codec: str = "h264") -> None:
        """Make the session, so that the first clip need not wait for it.

        Raises:
            GpuError: it cannot be made.
        """
        with self._device.current():
            if self._session is None:
                size = _LEAST_MAX_WIDTH, _LEAST_MAX_HEIGHT
                self._session = Session(CODECS[codec], size, size, _LEAST_SURFACES)

    def decode(
        self,
        packets: Sequence[bytes],
        codec: str,
        on_picture: Callable[[MappedPicture], None],
        *,
        wanted: Callable[[int], bool] | None = None,
    ) -> DecodedClip:
        """Decode a clip.

        Args:
            packets: access units in decoding order, with start codes (Annex B) and parameter sets.
            codec: one of :data:`CODECS`.
            on_picture: called with each wanted picture, in display order; one whose data the parser discarded
                is left out. The picture must be read by work queued on :attr:`stream`, within the call.
            wanted: called with a display index: whether ``on_picture`` needs the picture. None: all.

        Raises:
            NvdecError: NVDEC cannot decode the clip.
            GpuError: CUDA failed.
        """
        if codec not in CODECS:
            raise NvdecError(f"is {codec}, which is not decoded on the GPU ({', '.join(CODECS)} are)")
        with self._device.current():
            try:
                return _Clip(self, CODECS[codec], on_picture, wanted).decode(packets)
            except GpuError as error:
                self._end_session()
                if isinstance(error, CuvidError) and error.status in _DATA_ERRORS:
                    raise NvdecError(f"cannot be decoded on the GPU: {error}") from None
                raise

    def close(self) -> None:
        """Free the session and the stream."""
        with self._device.current():
            self._end_session()
        self.stream.close()

    def __enter__(self) -> NvDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _session_for(self, codec: int, form: StreamFormat) -> Session:
        """The session, set to the size of a stream's pictures; a new one if the old one does not fit."""
        size, old = (form.coded_width, form.coded_height), self._session
        if old is not None and old.codec == codec and old.fits(size, form.surfaces):
            old.set_size(size)
            return old
        largest = (_LEAST_MAX_WIDTH, _LEAST_MAX_HEIGHT) if old is None else old.max_size
        surfaces = max(_LEAST_SURFACES if old is None else old.surfaces, form.surfaces)
        self._end_session()
        max_size = max(largest[0], size[0]), max(largest[1], size[1])
        self._session = Session(codec, size, max_size, surfaces)
        return self._session

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.destroy()
            self._session = None

    def _capabilities_for(self, codec: int) -> Any:
        """The ``CUVIDDECODECAPS`` for 8 bits and 4:2:0."""
        if codec not in self._capabilities:
            caps = cuvid.CUVIDDECODECAPS(eCodecType=codec, eChromaFormat=cuvid.CHROMA_420)
            check("cuvidGetDecoderCaps", self._library.cuvidGetDecoderCaps(byref(caps)))
            self._capabilities[codec] = caps
        return self._capabilities[codec]


class _Clip:
    """One clip on its way through a parser of its own. The parser calls the methods with an underscore."""

    def __init__(
        self,
        decoder: NvDecoder,
        codec: int,
        on_picture: Callable[[MappedPicture], None],
        wanted: Callable[[int], bool] | None,
    ) -> None:
        self.decoder, self.codec, self.on_picture, self.wanted = decoder, codec, on_picture, wanted
        self.stream = int(decoder.stream.handle)
        self.error: BaseException | None = None
        self.session: Any = None
        self.format: StreamFormat | None = None
        self.num_pictures = 0
        self.bad: list[int] = []
        self.num_decoded = 0
        self.decoded: dict[int, int] = {}  # by surface: the picture that is not yet displayed, decoding order
        self.unknown: dict[int, list[int]] = defaultdict(list)  # by surface: pictures without a status yet

    def decode(self, packets: Sequence[bytes]) -> DecodedClip:
        library, parser = cuvid.library(), c_void_p()
        callbacks = cuvid.CUVIDPARSERPARAMS(
            CodecType=self.codec,
            ulMaxNumDecodeSurfaces=1,  # until the sequence callback returns the number
            ulMaxDisplayDelay=_DISPLAY_DELAY,
            pfnSequenceCallback=cuvid.SequenceCallback(self._guarded(self._on_sequence)),
            pfnDecodePicture=cuvid.DecodeCallback(self._guarded(self._on_decode)),
            pfnDisplayPicture=cuvid.DisplayCallback(self._guarded(self._on_display)),
        )
        check("cuvidCreateVideoParser", library.cuvidCreateVideoParser(byref(parser), byref(callbacks)))
        try:
            for data in packets:
                self._parse(parser, payload_size=len(data), payload=data)
            self._parse(parser, flags=cuvid.PKT_ENDOFSTREAM)
        finally:
            library.cuvidDestroyVideoParser(parser)
        if self.format is None:
            raise NvdecError("holds no sequence header")
        for surface in list(self.unknown):
            self._ask(surface)
        return DecodedClip(
            num_pictures=self.num_pictures,
            bad_pictures=tuple(sorted(self.bad)),
            width=self.format.width,
            height=self.format.height,
            matrix_coefficients=self.format.matrix_coefficients,
            full_range=self.format.full_range,
        )

    def _parse(self, parser: c_void_p, **packet: Any) -> None:
        status = cuvid.library().cuvidParseVideoData(parser, byref(cuvid.CUVIDSOURCEDATAPACKET(**packet)))
        if self.error is not None:
            raise self.error
        check("cuvidParseVideoData", status)

    def _guarded(self, method: Callable[[Any], int]) -> Callable[[Any, Any], int]:
        """A callback that stores an exception, as it cannot pass through the library, and returns failure."""

        def callback(_: Any, argument: Any) -> int:
            if self.error is not None:
                return 0
            try:
                return method(argument.contents)
            except BaseException as error:
                self.error = error
                return 0

        return callback

    def _on_sequence(self, form: Any) -> int:
        found = stream_format(form, self.decoder._capabilities_for(self.codec))
        if self.format is None:
            self.session = self.decoder._session_for(self.codec, found)
            self.format = found
        elif found != self.format:
            raise NvdecError("changes its picture size or format")
        return found.surfaces

    def _on_decode(self, parameters: Any) -> int:
        if parameters.field_pic_flag:
            raise NvdecError("is interlaced")
        surface = parameters.CurrPicIdx
        self._ask(surface)
        self.session.decode(parameters)
        self.decoded[surface] = self.num_decoded
        self.num_decoded += 1
        return 1

    def _on_display(self, info: Any) -> int:
        index, surface = self.num_pictures, info.picture_index
        self.num_pictures += 1
        decoded_as = self.decoded.pop(surface, None)
        if decoded_as is None:  # the parser discarded its data
            self.bad.append(index)
            return 1
        self.unknown[surface].append(index)
        if self.wanted is None or self.wanted(index):
            pointer, pitch = self.session.map(surface, self.stream)
            try:
                self._ask(surface)
                self.on_picture(self._mapped(index, decoded_as, pointer, pitch))
            finally:
                self.session.unmap(pointer)
        return 1

    def _mapped(self, index: int, decoded_as: int, pointer: int, pitch: int) -> MappedPicture:
        form = self.format
        assert form is not None  # the parser has called _on_sequence
        luma = pointer + form.top * pitch + form.left
        chroma = pointer + (form.coded_height + form.top // 2) * pitch + form.left
        return MappedPicture(index, decoded_as, luma, pitch, chroma - luma, form.width, form.height)

    def _ask(self, surface: int) -> None:
        """Find out about the displayed pictures of a surface, before the next one is decoded into it."""
        if surface not in self.unknown:
            return
        deadline = time.monotonic() + _STATUS_TIMEOUT_S
        while (status := self.session.status(surface)) == cuvid.STATUS_IN_PROGRESS:
            if time.monotonic() > deadline:
                raise GpuError(f"NVDEC has not decoded a picture for {_STATUS_TIMEOUT_S:g} s")
            time.sleep(_STATUS_PAUSE_S)
        pictures = self.unknown.pop(surface)
        if status != cuvid.STATUS_SUCCESS:
            self.bad += pictures
