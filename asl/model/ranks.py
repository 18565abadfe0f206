"""What ranks share: processes that train one network on several devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn


def num_ranks() -> int:
    """The number of ranks; 1 before they have found each other."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def share(tensors: Iterable[Tensor]) -> None:
    """Give the tensors of all ranks the values that those of the first rank have.

    All ranks must call this with tensors of the same shapes and dtypes in the same order.
    """
    if num_ranks() == 1:
        return
    with torch.no_grad():
        for of_type in _by_dtype(tensors):  # one message each
            flat = torch.cat([tensor.flatten() for tensor in of_type])
            torch.distributed.broadcast(flat, src=0)
            for tensor, values in zip(of_type, _split(flat, of_type), strict=True):
                tensor.copy_(values.view(tensor.shape))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of all ranks by their means, with the same strides.

    All ranks must call this with the same parameters in the same order, of which the same ones have
    gradients.
    """
    if num_ranks() == 1:
        return
    divides = torch.distributed.get_backend() == "nccl"
    operation = torch.distributed.ReduceOp.AVG if divides else torch.distributed.ReduceOp.SUM
    of_gradient = {parameter.grad: parameter for parameter in parameters if parameter.grad is not None}
    for gradients in _by_dtype(of_gradient):  # one message each
        # Autograd keeps no gradient with gaps or overlaps: these are its numbers as they lie in memory.
        flat = torch.cat([gradient.as_strided((gradient.numel(),), (1,)) for gradient in gradients])
        torch.distributed.all_reduce(flat, operation)
        if not divides:
            flat /= num_ranks()
        for gradient, mean in zip(gradients, _split(flat, gradients), strict=True):
            of_gradient[gradient].grad = mean.as_strided(gradient.shape, gradient.stride())


def _by_dtype(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors that are not empty, those of each dtype together."""
    kept = [tensor for tensor in tensors if tensor.numel()]
    for dtype in dict.fromkeys(tensor.dtype for tensor in kept):
        yield [tensor for tensor in kept if tensor.dtype == dtype]


def _split(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The parts of ``flat`` that belong to each of the tensors."""
    return flat.split([tensor.numel() for tensor in tensors])
