"""MViTv2-S: a multiscale vision transformer (Li et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video import MViT, MViT_V2_S_Weights
from torchvision.models.video.mvit import MSBlockConfig, MultiscaleAttention, MultiscaleBlock, Pool

from asl.config.setting import setting
from asl.model.networks.transformer import TransformerSettings, with_tensor_probabilities

if find_spec("triton"):
    from asl.model.networks import depthwise

_FRAMES, _PIXELS = 16, 224  # of the input for which the tables of positions are made


@dataclass(kw_only=True)
class MViTv2S(TransformerSettings):
    """Settings of MViTv2-S."""

    dropout: float = setting(0.5, "share of features dropped before the classifier", ge=0, lt=1)
    stochastic_depth: float = setting(
        0.2, "probability that a training step skips the last block; lower for earlier ones", ge=0, lt=1
    )

    name = "mvit_v2_s"
    gains_by_cuda_graphs = True  # an H100 computes its 2,500 kernels faster than a CPU launches them
    mean, std = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
    activation_bytes = (940, 1660)
    num_parameters = 34_537_744

    def build(self, num_classes: int) -> nn.Module:
        network = MViTv2(num_classes, dropout=self.dropout, stochastic_depth=self.stochastic_depth)
        return with_tensor_probabilities(network)

    def tune_for_gpu(self, network: nn.Module) -> str | None:
        if not (find_spec("triton") and depthwise.works() and pool_tokens(network)):
            return None
        return "depthwise convolutions of tokens"

    def kinetics_weights(self) -> MViT_V2_S_Weights:
        weights: MViT_V2_S_Weights = MViT_V2_S_Weights.KINETICS400_V1
        return weights


class MViTv2(MViT):
    """torchvision's MViTv2 for input of any size.

    The tables of relative positions are those of 16 frames of 224 pixels, torchvision's. For other input they
    are interpolated linearly.

    Args:
        num_classes: number of glosses.
        dropout: share of features dropped before the classifier.
        stochastic_depth: probability that a training step skips the last block.
        width: channels of the first stage; each later stage has twice as many and half the resolution.
        layers: number of blocks of each stage.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        dropout: float,
        stochastic_depth: float,
        width: int = 96,
        layers: Sequence[int] = (1, 2, 11, 2),
    ) -> None:
        super().__init__(
            spatial_size=(_PIXELS, _PIXELS),
            temporal_size=_FRAMES,
            block_setting=_blocks(width, layers),
            residual_pool=True,
            residual_with_cls_embed=False,
            rel_pos_embed=True,
            proj_after_attn=True,
            dropout=dropout,
            stochastic_depth_prob=stochastic_depth,
            num_classes=num_classes,
            block=Block,
        )

    def forward(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``."""
        patches = self.conv_proj(video)
        size = tuple(patches.shape[2:])
        tokens = self.pos_encoding(patches.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens, size = block(tokens, size)
        logits: Tensor = self.head(self.norm(tokens)[:, 0])  # of the class token
        return logits


class Block(MultiscaleBlock):
    """torchvision's block of MViTv2, with fused attention: no map of scores is written to memory.

    A score is ``q @ k`` plus the products of ``q`` and an embedding of the relative position on each axis.
    To get both with one product, each query is extended by its scores for every frame, row and column of the
    keys, and each key by the one-hot vectors of its frame, row and column.
    """

    def forward(self, tokens: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int, int]]:
        """Tokens ``(B, 1 + T * H * W, C)``, the class token first, and (T, H, W) -> new ones, theirs."""
        normed = self.norm1(tokens)
        attended, new_size = _attend(self.attn, normed, size)
        skipped = tokens if self.project is None else self.project(normed)
        if self.pool_skip is not None:
            skipped = self.pool_skip(skipped, size)[0]
        tokens = skipped + self.stochastic_depth(attended)
        return tokens + self.stochastic_depth(self.mlp(self.norm2(tokens))), new_size


def _attend(
    attention: MultiscaleAttention, tokens: Tensor, size: tuple[int, int, int]
) -> tuple[Tensor, tuple[int, int, int]]:
    """torchvision's attention with pooled queries, keys and values. Shapes are those of :class:`Block`."""
    projected = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, attention.head_dim))
    q, k, v = projected.transpose(1, 3).unbind(2)  # each (B, heads, 1 + T * H * W, C / heads)
    v_type = v.dtype  # the norms of pools give single precision
    k, key_size = attention.pool_k(k, size)
    v, _ = attention.pool_v(v, size)
    q, size = attention.pool_q(q, size)

    q, k = q.to(v_type), k.to(v_type)
    of_patches = q[:, :, 1:].unflatten(2, size)
    tables = (attention.rel_pos_t, attention.rel_pos_h, attention.rel_pos_w)
    position_scores = torch.cat(
        [
            torch.einsum(f"bnthwc,{axis}kc->bnthwk", of_patches, _relative_positions(table, queries, keys))
            for axis, table, queries, keys in zip("thw", tables, size, key_size, strict=True)
        ],
        dim=-1,
    )
    width = attention.head_dim + sum(key_size)
    more = -width % 8  # fused attention needs a multiple of 8
    more_q = F.pad(position_scores.flatten(2, 4), (0, more, 1, 0))  # the class token has no position
    more_k = F.pad(_one_hot_positions(key_size, k), (0, more, 1, 0)).expand(*k.shape[:2], -1, -1)
    attended = F.scaled_dot_product_attention(
        torch.cat([q, more_q], dim=-1),
        torch.cat([k * attention.scaler, more_k], dim=-1),
        F.pad(v, (0, sum(key_size) + more)),
        scale=1.0,
    )[..., : attention.head_dim]

    pooled = torch.cat([attended[:, :, :1], attended[:, :, 1:] + q[:, :, 1:]], dim=2)
    return attention.project(pooled.transpose(1, 2).flatten(2)), size


class TokenPool(Pool):
    """torchvision's pool by a depthwise convolution. On GPUs, tokens with contiguous channels are not copied.

    Args:
        pool: the pool to replace. Its modules are shared, not copied.
    """

    def __init__(self, pool: Pool) -> None:
        nn.Module.__init__(self)
        self.pool, self.norm_act, self.norm_before_pool = pool.pool, pool.norm_act, pool.norm_before_pool

    def forward(self, tokens: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int, int]]:
        """Tokens ``(B, heads, 1 + T * H * W, C)`` and (T, H, W) -> the pooled tokens and their (T, H, W)."""
        if not tokens.is_cuda:
            return super().forward(tokens, size)
        stride = self.pool.stride[1]
        pooled = depthwise.depthwise_conv(tokens, self.pool.weight, size, stride)
        return self.norm_act(pooled), depthwise.new_size(size, stride)


def pool_tokens(network: nn.Module) -> int:
    """Replace each pool that is a depthwise 3x3x3 convolution by a :class:`TokenPool`.

    Args:
        network: changed in place. It computes the same function, with parameters of the same names.

    Returns:
        The number of pools that were replaced.
    """
    replaced = 0
    for module in list(network.modules()):
        for name, pool in list(module.named_children()):
            if type(pool) is Pool and _is_depthwise(pool.pool) and not pool.norm_before_pool:
                setattr(module, name, TokenPool(pool))
                replaced += 1
    return replaced


def _is_depthwise(pool: nn.Module | Tensor) -> bool:
    """Whether it is a convolution that :func:`~asl.model.networks.depthwise.depthwise_conv` computes."""
    return (
        isinstance(pool, nn.Conv3d)
        and pool.weight.shape[1:] == (1, 3, 3, 3)
        and pool.groups == pool.in_channels == pool.out_channels
        and pool.padding == (1, 1, 1)
        and pool.stride == (1, pool.stride[1], pool.stride[1])
        and pool.bias is None
    )


def _relative_positions(table: Tensor, queries: int, keys: int) -> Tensor:
    """The embedding of each key's position relative to each query's along one axis: ``(queries, keys, C)``.

    Args:
        table: ``(positions, C)``; interpolated if the axis has more or fewer of them.
        queries: positions along the axis.
        keys: the same of keys.
    """
    positions = 2 * max(queries, keys) - 1
    if len(table) != positions:
        table = F.interpolate(table.T.unsqueeze(0), size=positions, mode="linear").squeeze(0).T
    of_query = torch.arange(queries, device=table.device) * max(keys / queries, 1.0)
    of_key = (torch.arange(keys, device=table.device) + (1.0 - keys)) * max(queries / keys, 1.0)
    return table[(of_query[:, None] - of_key).long()]


def _one_hot_positions(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """Each patch's frame, row and column as one-hot vectors: ``(T * H * W, T + H + W)``."""
    axes = []
    for axis, number in enumerate(size):
        shape = [number if each == axis else 1 for each in range(3)]
        axes.append(
            torch.eye(number, device=like.device, dtype=like.dtype).view(*shape, number).expand(*size, number)
        )
    return torch.cat(axes, dim=-1).flatten(0, 2)


def _blocks(width: int, layers: Sequence[int]) -> list[MSBlockConfig]:
    """The blocks of ``mvit_v2_s`` in ``torchvision/models/video/mvit.py``, of any width and depth."""
    blocks = []
    for stage, count in enumerate(layers):
        planes, shrink = width * 2**stage, 2 ** (len(layers) - 1 - stage)
        for number in range(count):
            halves = stage > 0 and number == 0
            blocks.append(
                MSBlockConfig(
                    num_heads=2**stage,
                    input_channels=planes // 2 if halves else planes,
                    output_channels=planes,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, 2, 2] if halves else [1, 1, 1],
                    stride_kv=[1, shrink, shrink],
                )
            )
    return blocks
