"""An NVDEC session: the video decoder of the driver for one codec, up to a largest picture size."""

from __future__ import annotations

from ctypes import byref, c_uint, c_ulonglong, c_void_p
from typing import Any

from asl.preprocess.gpu.cuda_calls import OUT_OF_MEMORY, GpuError, status_name
from asl.preprocess.gpu.nvdec import cuvid


class CuvidError(GpuError):
    """A call of libnvcuvid failed.

    Attributes:
        status: the ``CUresult``.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, out_of_memory=status == OUT_OF_MEMORY)
        self.status = status


def check(call: str, status: int) -> None:
    """Raise :class:`CuvidError` if a call of libnvcuvid returned an error."""
    if status:
        raise CuvidError(f"{call}: {status_name(status)}", status)


class Session:
    """A ``CUvideodecoder`` for pictures of 8 bits and 4:2:0, without cropping and scaling.

    The device must be current whenever a method is called.

    Args:
        codec: ``cudaVideoCodec``.
        size: coded width and height of the pictures.
        max_size: the largest width and height that :meth:`set_size` takes.
        surfaces: pictures in memory at once.

    Raises:
        CuvidError: it cannot be made; all methods raise it if they fail.
    """

    def __init__(self, codec: int, size: tuple[int, int], max_size: tuple[int, int], surfaces: int) -> None:
        self._library, self._handle = cuvid.library(), c_void_p()
        self.codec, self.size, self.max_size, self.surfaces = codec, size, max_size, surfaces
        (width, height), (max_width, max_height) = size, max_size
        info = cuvid.CUVIDDECODECREATEINFO(
            ulWidth=width,
            ulHeight=height,
            ulNumDecodeSurfaces=surfaces,
            CodecType=codec,
            ChromaFormat=cuvid.CHROMA_420,
            ulCreationFlags=cuvid.CREATE_PREFER_CUVID,
            ulMaxWidth=max_width,
            ulMaxHeight=max_height,
            display_area=(0, 0, width, height),
            OutputFormat=cuvid.SURFACE_NV12,
            DeinterlaceMode=cuvid.DEINTERLACE_WEAVE,
            ulTargetWidth=width,
            ulTargetHeight=height,
            ulNumOutputSurfaces=2,
        )
        check("cuvidCreateDecoder", self._library.cuvidCreateDecoder(byref(self._handle), byref(info)))

    def fits(self, size: tuple[int, int], surfaces: int) -> bool:
        """Whether it can decode pictures of a coded size that needs so many surfaces."""
        return size[0] <= self.max_size[0] and size[1] <= self.max_size[1] and surfaces <= self.surfaces

    def set_size(self, size: tuple[int, int]) -> None:
        """Decode pictures of another coded size. To be called in the parser's sequence callback."""
        if size == self.size:
            return
        width, height = size
        info = cuvid.CUVIDRECONFIGUREDECODERINFO(
            ulWidth=width,
            ulHeight=height,
            ulTargetWidth=width,
            ulTargetHeight=height,
            ulNumDecodeSurfaces=self.surfaces,
            display_area=(0, 0, width, height),
        )
        check("cuvidReconfigureDecoder", self._library.cuvidReconfigureDecoder(self._handle, byref(info)))
        self.size = size

    def decode(self, parameters: Any) -> None:
        """Start to decode a picture, ``CUVIDPICPARAMS``."""
        check("cuvidDecodePicture", self._library.cuvidDecodePicture(self._handle, byref(parameters)))

    def status(self, surface: int) -> int:
        """The ``cuvidDecodeStatus`` of the picture that was last decoded into a surface."""
        result = cuvid.CUVIDGETDECODESTATUS()
        status = self._library.cuvidGetDecodeStatus(self._handle, surface, byref(result))
        check("cuvidGetDecodeStatus", status)
        return int(result.decodeStatus)

    def map(self, surface: int, stream: int) -> tuple[int, int]:
        """Wait for a picture and copy it to linear memory. Returns its address and its pitch in bytes.

        Args:
            surface: where the picture was decoded.
            stream: address of the ``CUstream`` on which the copy is queued.
        """
        pointer, pitch = c_ulonglong(), c_uint()
        how = cuvid.CUVIDPROCPARAMS(progressive_frame=1, output_stream=stream)
        status = self._library.cuvidMapVideoFrame64(
            self._handle, surface, byref(pointer), byref(pitch), byref(how)
        )
        check("cuvidMapVideoFrame64", status)
        return pointer.value, pitch.value

    def unmap(self, pointer: int) -> None:
        """Give memory from :meth:`map` back."""
        check("cuvidUnmapVideoFrame64", self._library.cuvidUnmapVideoFrame64(self._handle, pointer))

    def destroy(self) -> None:
        """Free the session."""
        self._library.cuvidDestroyDecoder(self._handle)
