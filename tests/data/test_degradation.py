"""Degradations: what each does to known pictures, and that it depends on the clip's numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asl.data import transforms
from asl.data.augmentation import Augmentation
from asl.data.class_sampler import Draw
from asl.data.clip_dataset import _random_numbers
from asl.data.degradation import NUM_UNIFORMS, degrade
from asl.data.transforms import augment

ALL = {"blur": 1.5, "downscale": 4.0, "noise": 0.3, "blocks": 0.2, "erase": 0.4}


def noise_clips(size: int = 24, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 2, size, size, generator=torch.Generator().manual_seed(0))


def uniforms(value: float, count: int = 2) -> Tensor:
    return torch.full((count, NUM_UNIFORMS), value)


def test_all_are_off_by_default_and_each_turns_degradation_on() -> None:
    assert not Augmentation().degrades
    for name, value in ALL.items():
        assert Augmentation(**{name: value}).degrades, name


@pytest.mark.parametrize("name", ALL)
def test_a_clip_that_draws_no_strength_is_unchanged(name: str) -> None:
    clips = noise_clips()
    changed = degrade(clips, uniforms(0.0), Augmentation(**{name: ALL[name]}))
    assert torch.allclose(changed, clips, atol=1e-4)
    strong = degrade(clips, uniforms(0.9), Augmentation(**{name: ALL[name]}))
    assert not torch.allclose(strong, clips, atol=0.05)
    assert strong.shape == clips.shape
    assert 0 <= strong.min() <= strong.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ALL)
def test_a_clip_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    clips, drawn = noise_clips(count=3), torch.rand(3, NUM_UNIFORMS)
    together = degrade(clips, drawn, Augmentation(**{name: ALL[name]}))
    for i in range(3):
        alone = degrade(clips[i : i + 1], drawn[i : i + 1], Augmentation(**{name: ALL[name]}))
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_blur_spreads_a_point_by_its_standard_deviation_and_keeps_grey() -> None:
    point = torch.zeros(1, 1, 1, 41, 41)
    point[..., 20, 20] = 1
    spread = degrade(point, uniforms(0.5, 1), Augmentation(blur=4.0))[0, 0, 0]
    place = torch.arange(41) - 20.0
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    for axis in (0, 1):
        assert (spread.sum(dim=axis) * place**2).sum() == pytest.approx(2.0**2, rel=0.01)
    grey = torch.full((1, 3, 2, 16, 16), 0.3)
    assert torch.allclose(degrade(grey, uniforms(1.0, 1), Augmentation(blur=3.0, downscale=5.0)), grey)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downscale_averages_pixels_and_interpolates_as_torch_does(factor: int) -> None:
    clips = noise_clips(count=1)
    small = F.avg_pool2d(clips.flatten(1, 2), factor)
    expected = F.interpolate(small, scale_factor=factor, mode="bilinear", align_corners=False)
    made = degrade(clips, uniforms(1.0, 1), Augmentation(downscale=float(factor)))
    assert torch.allclose(made.flatten(1, 2), expected, atol=1e-5)


def test_a_factor_that_does_not_divide_the_picture_keeps_its_brightness_and_place() -> None:
    ramp = torch.linspace(0, 1, 25).expand(1, 1, 1, 25, 25)
    made = degrade(ramp, uniforms(1.0, 1), Augmentation(downscale=2.6))
    assert (made - ramp)[..., 3:-3].abs().max() < 0.01  # a ramp is interpolated exactly but at its ends
    assert made.mean() == pytest.approx(0.5, abs=0.01)


def lowbias32(bits: int) -> int:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = ((bits ^ (bits >> shift)) * factor) % (1 << 32)
    return bits ^ (bits >> 16)


def test_noise_is_a_hash_of_seed_and_place() -> None:
    clips = torch.full((2, 3, 2, 16, 16), 0.5)
    drawn = uniforms(1.0)
    drawn[:, 3] = torch.tensor([0.25, 0.75])
    made = degrade(clips, drawn, Augmentation(noise=0.4)) - 0.5
    assert torch.equal(made[:, 0], made[:, 2])  # the same in all colours
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[:, :, 0], made[:, :, 1])  # another in each frame
    for place in (0, 1, 17, 511):
        bits = lowbias32((place + (1 << 22) * 0x9E3779B1) % (1 << 32))
        expected = 0.4 * (bits / (1 << 31) - 1)
        assert made[0, 0].flatten()[place] == pytest.approx(expected, abs=1e-6)
    assert abs(made.mean()) < 0.03
    assert made.std() == pytest.approx(0.4 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("size", [24, 20], ids=["whole blocks", "blocks that are cut"])
def test_coarse_blocks_keep_their_mean_alone(size: int) -> None:
    clips = noise_clips(size, count=1)
    fine = degrade(clips, uniforms(1.0, 1), Augmentation(blocks=0.001))
    assert (fine - clips).abs().max() < 0.05
    shown = degrade(clips, uniforms(1.0, 1), Augmentation(blocks=1.0))[..., :16, :16]
    blocks = shown.unflatten(4, (-1, 8)).unflatten(3, (-1, 8))
    means = clips[..., :16, :16].unflatten(4, (-1, 8)).unflatten(3, (-1, 8)).mean(dim=(4, 6), keepdim=True)
    assert torch.allclose(blocks, blocks[:, :, :, :, :1, :, :1].expand_as(blocks), atol=1e-5)
    assert (blocks - means).abs().max() <= 1 / 16 + 1e-4  # a step is 1/8 of the mean of 64 pixels


def test_erasing_hides_a_rectangle_in_all_frames_and_colours() -> None:
    clips = torch.ones(64, 3, 2, 40, 40)
    drawn = torch.rand(64, NUM_UNIFORMS, generator=torch.Generator().manual_seed(1))
    hidden = degrade(clips, drawn, Augmentation(erase=0.3)) < 1
    assert (hidden == hidden[:, :1, :1]).all()
    first = hidden[:, 0, 0]
    rows, columns = first.any(dim=2).sum(dim=1), first.any(dim=1).sum(dim=1)
    assert torch.equal(first.sum(dim=(1, 2)), rows * columns)
    shares = rows * columns / 40**2
    assert shares.max() <= 0.3 + 0.05  # edges lie on whole pixels
    assert torch.allclose(shares, 0.3 * drawn[:, 5], atol=0.05)


def test_degradations_change_no_other_number_that_is_drawn() -> None:
    draw = Draw(0, entropy=(0, 3, 7))
    usual, rng = _random_numbers(draw, Augmentation())
    more, same_rng = _random_numbers(draw, Augmentation(noise=0.1))
    assert (len(usual), len(more)) == (transforms.NUM_UNIFORMS, transforms.NUM_UNIFORMS + NUM_UNIFORMS)
    assert np.array_equal(usual, more[: len(usual)])
    assert rng is not None
    assert same_rng is not None
    assert rng.random() == same_rng.random()
    assert np.array_equal(more, _random_numbers(draw, Augmentation(erase=0.1))[0])
    other, _ = _random_numbers(draw._replace(entropy=(0, 3, 8)), Augmentation(noise=0.1))
    assert not np.isin(more, other).any()
    assert not _random_numbers(Draw(0), Augmentation(noise=0.1))[0].any()


def test_pictures_are_degraded_after_all_other_changes() -> None:
    video = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8)
    drawn = torch.rand(2, transforms.NUM_UNIFORMS + NUM_UNIFORMS)
    how: dict[str, Any] = {"crop_size": 24}
    plain = augment(video, drawn[:, : transforms.NUM_UNIFORMS], augmentation=Augmentation(), **how)
    made = augment(video, drawn, augmentation=Augmentation(**ALL), **how)
    shape = (1, 3, 1, 1, 1)
    mean, std = (torch.tensor(one).view(shape) for one in (transforms.KINETICS_MEAN, transforms.KINETICS_STD))
    expected = degrade(plain * std + mean, drawn[:, transforms.NUM_UNIFORMS :], Augmentation(**ALL))
    assert torch.allclose(made * std + mean, expected, atol=1e-2)
    assert made.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.gpu
def test_the_gpu_degrades_as_the_cpu_does() -> None:
    clips, drawn = noise_clips(112), torch.rand(2, NUM_UNIFORMS)
    for name, value in ALL.items():
        how = Augmentation(**{name: value})
        on_gpu = degrade(clips.cuda(), drawn.cuda(), how).cpu()
        assert (on_gpu - degrade(clips, drawn, how)).abs().mean() < 1e-3, name
