"""What ranks share: processes that train one network on several devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from asl.errors import UserError

T = TypeVar("T", bound=Tensor)


def num_ranks() -> int:
    """The number of ranks; 1 before they have found each other."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def share(tensors: Iterable[Tensor]) -> None:
    """Give the tensors of all ranks the values that those of the first rank have.

    All ranks must call this with tensors of the same shapes and dtypes in the same order. One message is sent
    for each dtype.
    """
    if num_ranks() == 1:
        return
    with torch.no_grad():
        for of_type in _by_dtype(tensors):
            flat = torch.cat([tensor.flatten() for tensor in of_type])
            torch.distributed.broadcast(flat, src=0)
            for tensor, values in zip(of_type, _split(flat, of_type), strict=True):
                tensor.copy_(values.view(tensor.shape))


def average_gradients(module: nn.Module) -> None:
    """Replace the gradients of all ranks by their means, with the same strides.

    All ranks must call this after a backward pass, with modules of the same parameters. One message is sent
    for each dtype.

    Raises:
        UserError: a parameter that is not frozen has no gradient, so that the ranks' messages could differ.
    """
    if num_ranks() == 1:
        return
    divides = torch.distributed.get_backend() == "nccl"
    operation = torch.distributed.ReduceOp.AVG if divides else torch.distributed.ReduceOp.SUM
    trained = {name: one for name, one in module.named_parameters() if one.requires_grad}
    if missing := next((name for name, one in trained.items() if one.grad is None), None):
        raise UserError(
            f"{missing} has no gradient after a backward pass. With several ranks, each step must use all "
            "parameters that are not frozen"
        )
    for parameters in _by_dtype(trained.values()):
        # Autograd gives a gradient the strides of its parameter, which has no gaps in memory.
        gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
        flat = torch.cat([gradient.as_strided((gradient.numel(),), (1,)) for gradient in gradients])
        torch.distributed.all_reduce(flat, operation)
        if not divides:
            flat /= num_ranks()
        for parameter, gradient, mean in zip(parameters, gradients, _split(flat, gradients), strict=True):
            parameter.grad = mean.as_strided(gradient.shape, gradient.stride())


def _by_dtype(tensors: Iterable[T]) -> Iterator[list[T]]:
    """The tensors of each dtype."""
    known = list(tensors)
    for dtype in dict.fromkeys(tensor.dtype for tensor in known):
        yield [tensor for tensor in known if tensor.dtype == dtype]


def _split(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The parts of ``flat`` that belong to each of the tensors."""
    return flat.split([tensor.numel() for tensor in tensors])
