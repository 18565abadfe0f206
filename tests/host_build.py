"""Compile C++ with the machine's compiler and load it, for tests of code that normally runs on a GPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.host_parser import NoCompilerError, find_compiler

_FLAGS = ("-x", "c++", "-std=c++17", "-O2", "-fPIC", "-shared")

_LOADED: dict[str, ctypes.CDLL] = {}  # by digest


def build(source: str, folder: Path, *, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The shared library of a C++ source. The same source and flags are compiled once in a session.

    Skips the test if there is no compiler, or fails it if ``ASL_REQUIRE_COMPILER=1`` promises one.

    Args:
        source: the code; functions to call need ``extern "C"``.
        folder: where the source and the library are written.
        flags: further options of the compiler, such as ``-I`` and a folder of headers.

    Raises:
        RuntimeError: the code is wrong; the message holds the compiler's.
    """
    command = [*_compiler(), *_FLAGS, *flags]
    digest = hashlib.sha256("\0".join([*command, source]).encode()).hexdigest()[:16]
    if digest not in _LOADED:
        code, library = folder / f"{digest}.cpp", folder / f"{digest}.so"
        code.write_text(source, encoding="utf-8")
        result = subprocess.run([*command, str(code), "-o", str(library)], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"{shlex.join(command)} fails:\n{result.stderr}")
        _LOADED[digest] = ctypes.CDLL(str(library))
    return _LOADED[digest]


def _compiler() -> list[str]:
    try:
        return find_compiler()
    except NoCompilerError as error:
        if os.environ.get("ASL_REQUIRE_COMPILER") == "1":
            pytest.fail(f"{error}, although ASL_REQUIRE_COMPILER=1", pytrace=False)
        pytest.skip(str(error))
