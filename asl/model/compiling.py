"""Compile a network for training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

_MOST_SHAPES = 64  # of parts that have one class, frozen ones counted again; torch's own limit is 8


def compile_parts(parts: Iterable[nn.Module], *, cuda_graphs: bool = False) -> None:
    """Compile modules in place, each by itself, for input of one shape. Earlier compiled code is dropped.

    Parts of one class whose tensors have the same shapes share their compiled code.

    Args:
        parts: the modules.
        cuda_graphs: record each part's kernels as CUDA graphs, whose kernels the CPU launches all at once.
            What a part returns, gradients of parameters included, is then overwritten in the next step: call
            ``torch.compiler.cudagraph_mark_step_begin()`` before each step.
    """
    torch.compiler.reset()  # or earlier jobs of a sweep would count towards the limit
    torch._dynamo.config.recompile_limit = _MOST_SHAPES
    for part in parts:
        part.compile(dynamic=False, mode="reduce-overhead" if cuda_graphs else None)
