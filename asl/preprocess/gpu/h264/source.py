"""The parser's C++ source for NVRTC and host compilers: tables and records, then the files in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from asl.preprocess.gpu.h264.layout import ABOVE_BYTES, PARAMS, RESULT, SLICE, Reason

_FOLDER = Path(__file__).parent
_FILES = ("bits.h", "cabac.h", "cavlc.h", "macroblock.h", "slice.cu")

#: Of context variables: ctxIdx 0 to 459 are all that frames in 4:2:0 use.
_NUM_CONTEXTS = 460

#: Categories of residual blocks (Table 9-42): luma DC, AC, 4x4; chroma DC, AC; luma 8x8. For each its number
#: of coefficients, and the first context of significant_coeff_flag, last_significant_coeff_flag and
#: coeff_abs_level_minus1 in frames (Table 9-34 and ctxBlockCatOffset of Table 9-40).
_MAX_COEFFICIENTS = (16, 15, 16, 4, 15, 64)
_SIGNIFICANT_CONTEXT = (105, 120, 134, 149, 152, 402)
_LAST_CONTEXT = (166, 181, 195, 210, 213, 417)
_LEVEL_CONTEXT = (227, 237, 247, 257, 266, 426)

#: Lists of the two partitions of B macroblocks, mb_type 4 to 21 in pairs (Table 7-14), and of the types of
#: sub-macroblocks (Table 7-18): bit 0 list 0, bit 1 list 1; the second partition's bits are 2 and 3.
_B_LISTS = tuple(
    a | b << 2 for a, b in ((1, 1), (2, 2), (1, 2), (2, 1), (1, 3), (2, 3), (3, 1), (3, 2), (3, 3))
)
_SUB_LISTS = (0, 1, 2, 3, 1, 1, 2, 2, 3, 3, 1, 2, 3)
#: 8x8, 8x4, 4x8, 4x4
_SUB_SHAPES = (0, 0, 0, 0, 1, 2, 1, 2, 1, 2, 3, 3, 3)

#: Order of the 4x4 blocks of a macroblock (6.4.3).
_BLOCK_X = (0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3)
_BLOCK_Y = (0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3)

#: Largest magnitude of a motion vector difference in quarter samples, horizontally (7.4.5.1).
_MOST_MVD = 8192 * 4

_PRELUDE = """
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define ON_GPU 1
#define FN static __device__
#define INLINED static __device__ __forceinline__
#define CALLED static __device__ __noinline__
#define TABLE static __device__ const
#else
#define ON_GPU 0
#define FN static inline
#define INLINED static inline
#define CALLED static
#define TABLE static const
#endif
typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef unsigned long long uint64_t;
"""


@lru_cache(maxsize=1)
def parser_source() -> str:
    """The whole source. It defines ``parse_slices``, see ``slice.cu``."""
    parts = [_PRELUDE, *_constants(), *_records(), *_tables()]
    parts += [(_FOLDER / name).read_text(encoding="utf-8") for name in _FILES]
    parts.append(f'static_assert(sizeof(Above) == {ABOVE_BYTES}, "layout.py");')
    return "\n".join(parts)


def _constants() -> Iterable[str]:
    yield from (f"#define {reason.name} {reason.value}" for reason in Reason)
    yield f"#define NUM_CONTEXTS {_NUM_CONTEXTS}"
    yield f"#define MOST_MVD {_MOST_MVD}"


def _records() -> Iterable[str]:
    for name, record in (("Params", PARAMS), ("Slice", SLICE), ("Result", RESULT)):
        # num_refs_l0 and num_refs_l1 are one array there.
        fields = [f for f in record.names or () if f != "num_refs_l1"]
        kind = "int32_t" if record is PARAMS else "uint32_t"
        lines = [f"    {kind} {field.replace('num_refs_l0', 'num_refs[2]')};" for field in fields]
        yield "\n".join([f"struct {name} {{", *lines, "};"])
        yield f'static_assert(sizeof({name}) == {record.itemsize}, "layout.py");'


def _tables() -> Iterable[str]:
    tables: dict[str, Any] = json.loads((_FOLDER / "tables.json").read_text(encoding="utf-8"))
    ranges = np.array(tables["rangeTabLPS"], np.uint32)
    packed = ranges @ (np.uint32(1) << np.array([0, 8, 16, 24], np.uint32))
    # pStateIdx and valMPS as one number, 2 * pStateIdx + valMPS; in state 0, valMPS is inverted.
    after_lps = [
        2 * tables["transIdxLPS"][state] + (mps ^ (state == 0)) for state in range(64) for mps in (0, 1)
    ]
    yield _array("uint32_t", "LPS_RANGES", packed.tolist())
    yield _array("uint8_t", "AFTER_LPS", after_lps)
    yield _array("int8_t", "CONTEXT_INIT", tables["context_init"])
    yield _array("uint8_t", "SIGNIFICANT_8X8", tables["significant_coeff_flag_8x8"])
    yield _array("uint8_t", "LAST_8X8", tables["last_significant_coeff_flag_8x8"])
    patterns = [tables["coded_block_pattern_intra"], tables["coded_block_pattern_inter"]]
    yield _array("uint8_t", "CODED_BLOCK_PATTERN", patterns)
    tokens = [_by_token(codes) for codes in tables["coeff_token"]]
    yield _array("uint16_t", "COEFF_TOKEN", [vlc_table(codes) for codes in tokens])
    for name in ("total_zeros", "total_zeros_chroma_dc", "run_before"):
        rows = [{code: int(value) for value, code in codes.items()} for codes in tables[name]]
        yield _array("uint16_t", name.upper(), [vlc_table(codes) for codes in rows])
    for name, kind, values in (
        ("MAX_COEFFICIENTS", "uint8_t", _MAX_COEFFICIENTS),
        ("SIGNIFICANT_CONTEXT", "uint16_t", _SIGNIFICANT_CONTEXT),
        ("LAST_CONTEXT", "uint16_t", _LAST_CONTEXT),
        ("LEVEL_CONTEXT", "uint16_t", _LEVEL_CONTEXT),
        ("B_LISTS", "uint8_t", _B_LISTS),
        ("SUB_LISTS", "uint8_t", _SUB_LISTS),
        ("SUB_SHAPES", "uint8_t", _SUB_SHAPES),
        ("BLOCK_X", "uint8_t", _BLOCK_X),
        ("BLOCK_Y", "uint8_t", _BLOCK_Y),
    ):
        yield _array(kind, name, values)


def _by_token(codes: Mapping[str, str]) -> dict[str, int]:
    """Codes of coeff_token; the value is ``4 * TotalCoeff + TrailingOnes``."""
    values = {}
    for token, code in codes.items():
        total, ones = map(int, token.split(","))
        values[code] = 4 * total + ones
    return values


def vlc_table(codes: Mapping[str, int]) -> list[int]:
    """A table that decodes a variable-length code of up to 16 bits.

    Args:
        codes: values from 0 to 2047 by bit string; prefix-free.

    Returns:
        16 rows, for as many leading zeros (the last one for 15 and more), of 8 columns, for the three bits
        after the first 1: ``value * 32 + length``, and 0 where the bits begin no code.

    Raises:
        ValueError: more than three bits after the first 1 decide about a code.
    """
    table = []
    for zeros in range(16):
        for after in range(8):
            bits = f"{'0' * zeros}1{after:03b}"
            found = [code for code in codes if bits.startswith(code)]
            if not found and any(code.startswith(bits) for code in codes):
                raise ValueError(f"no table of this form can decode {bits}...")
            table.append(codes[found[0]] * 32 + len(found[0]) if found else 0)
    return table


def _array(kind: str, name: str, values: Sequence[Any]) -> str:
    shape = "".join(f"[{length}]" for length in np.shape(values))
    body = ", ".join(map(str, np.ravel(values).tolist()))  # C++ needs no braces around the rows
    return f"TABLE {kind} {name}{shape} = {{{body}}};"
