"""What ranks share: processes that train one network on several devices."""

from __future__ import annotations

import torch
from torch import nn


def num_ranks() -> int:
    """The number of ranks; 1 before they have found each other."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def share_buffers(module: nn.Module) -> None:
    """Give all ranks the buffers of the first one, such as the statistics of batch norms.

    All ranks must call this.
    """
    if num_ranks() == 1:
        return
    buffers = [buffer for buffer in module.buffers() if buffer.numel()]
    for dtype in dict.fromkeys(buffer.dtype for buffer in buffers):  # one message each
        of_type = [buffer for buffer in buffers if buffer.dtype == dtype]
        flat = torch.cat([buffer.flatten() for buffer in of_type])
        torch.distributed.broadcast(flat, src=0)
        for buffer, shared in zip(of_type, flat.split([buffer.numel() for buffer in of_type]), strict=True):
            buffer.copy_(shared.view(buffer.shape))
