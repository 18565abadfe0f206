"""Compile a network for training."""

from __future__ import annotations

import gc
from collections.abc import Iterable

import torch
from torch import nn

_MOST_SHAPES = 64  # of parts that have one class, frozen ones counted again; torch's own limit is 8


def compile_parts(parts: Iterable[nn.Module], *, cuda_graphs: bool = False) -> None:
    """Compile modules in place, each by itself, for input of one shape. Earlier compiled code is dropped.

    Parts of one class whose tensors have the same shapes share their compiled code.

    Args:
        parts: the modules.
        cuda_graphs: record each part as CUDA graphs, each of which the CPU launches at once. What a part
            returns, gradients included, lies in memory that the next batch overwrites. Call
            ``torch.compiler.cudagraph_mark_step_begin()`` before each batch. Before its backward pass, set
            gradients to None, or to tensors of your own if it adds to them.
    """
    torch.compiler.reset()  # or the shapes of other networks would count towards the limit
    torch._dynamo.config.recompile_limit = _MOST_SHAPES
    for part in parts:
        part.compile(dynamic=False, mode="reduce-overhead" if cuda_graphs else None)


def drop_compiled_code() -> None:
    """Drop all compiled code, and release the memory that its CUDA graphs hold."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
