"""The parser of H.264 slices in a host compiler's build, which benchmarks and tests run without a GPU."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asl.preprocess.gpu.h264.layout import ABOVE_BYTES, RESULT


class NoCompilerError(RuntimeError):
    """This machine has no C++ compiler that does what is asked for."""


def find_compiler() -> list[str]:
    """``CXX``, or else the first C++ compiler that is installed, as the start of a command line.

    Raises:
        NoCompilerError: there is none.
    """
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for candidate in candidates:
        command = shlex.split(candidate)
        if command and shutil.which(command[0]):
            return command
    raise NoCompilerError(f"no C++ compiler: {' or '.join(candidates)} is not installed")


class HostSliceParser:
    """A :class:`~asl.preprocess.gpu.h264.prover.SliceParser` on the host.

    Args:
        library: a shared library of ``parser_source()``.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._parse = library.parse_slices
        self._parse.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_uint32]
        self._parse.restype = None

    def __call__(
        self, data: Sequence[bytes], slices: npt.NDArray[np.void], params: npt.NDArray[np.void]
    ) -> npt.NDArray[np.void]:
        """Parse slices, as the GPU does."""
        words = np.frombuffer(b"".join(data), np.uint8)
        results = np.zeros(len(slices), RESULT)
        rows = np.zeros(int(params["mb_width"].max()) * ABOVE_BYTES, np.uint8)
        arrays = (words, np.ascontiguousarray(slices), np.ascontiguousarray(params), results, rows)
        self._parse(*(array.ctypes.data for array in arrays), len(slices))
        return results
