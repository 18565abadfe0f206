"""Batch transforms: shapes, consistency over the frames of a clip, and the evaluation crop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.video import R2Plus1D_18_Weights
from torchvision.transforms import functional

from asl.data.normalisation import KINETICS_MEAN, KINETICS_STD
from asl.data.transforms import (
    NUM_UNIFORMS,
    Augmentation,
    augment,
    centre_crop,
    crop_boxes,
    mix_clips,
)

NO_COLOUR = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
WHOLE = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), **NO_COLOUR)


def random_video(size: int = 2, frames: int = 3, height: int = 20, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (size, frames, height, width, 3), dtype=torch.uint8, generator=generator)


def pictures(clips: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation: (B, C, T, H, W) in 0 to 255."""
    mean, std = torch.tensor(KINETICS_MEAN).view(3, 1, 1, 1), torch.tensor(KINETICS_STD).view(3, 1, 1, 1)
    return (clips * std + mean) * 255


def test_normalisation_and_crop_equal_torchvisions_preset() -> None:
    preset = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    video = random_video(frames=2, height=128, width=171)
    expected = preset(video.permute(0, 1, 4, 2, 3))
    assert torch.allclose(centre_crop(video, crop_size=112), expected, atol=1e-6)


def test_augmented_batches_have_the_shape_of_the_networks_input() -> None:
    clips = augment(random_video(), torch.rand(2, NUM_UNIFORMS), crop_size=16, augmentation=Augmentation())
    assert clips.shape == (2, 3, 3, 16, 16)
    assert clips.dtype == torch.float32


def test_equal_uniforms_give_equal_clips() -> None:
    uniforms = torch.rand(2, NUM_UNIFORMS)
    first, second = (
        augment(random_video(), uniforms, crop_size=16, augmentation=Augmentation()) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_different_uniforms_give_different_clips() -> None:
    video = random_video(size=1).expand(2, -1, -1, -1, -1)
    clips = augment(video, torch.rand(2, NUM_UNIFORMS), crop_size=16, augmentation=Augmentation())
    assert not torch.allclose(clips[0], clips[1], atol=0.05)


def test_all_frames_of_a_clip_get_the_same_crop_and_colours() -> None:
    still = random_video(frames=1).expand(-1, 5, -1, -1, -1)
    clips = augment(still, torch.rand(2, NUM_UNIFORMS), crop_size=16, augmentation=Augmentation(hflip=True))
    assert torch.allclose(clips, clips[:, :, :1].expand_as(clips), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (24, 16)])
def test_a_crop_of_the_target_size_copies_pixels(height: int, width: int) -> None:
    video = random_video(size=1, height=height, width=width)
    uniforms = torch.full((1, NUM_UNIFORMS), 0.25)
    area = 16 * 16 / (16 * 24)
    whole_pixels = Augmentation(scale=(area, area), ratio=(1.0, 1.0), **NO_COLOUR)
    clips = augment(video, uniforms, crop_size=16, augmentation=whole_pixels)
    top, left = (height - 16) // 4, (width - 16) // 4
    expected = video[0, :, top : top + 16, left : left + 16].permute(3, 0, 1, 2).float()
    assert torch.allclose(pictures(clips)[0], expected, atol=0.05)


@pytest.mark.parametrize("uniform", [0.0, 0.49, 0.51, 0.999])
def test_clips_are_mirrored_only_with_hflip(uniform: float) -> None:
    video, uniforms = random_video(size=1, height=16, width=16), torch.full((1, NUM_UNIFORMS), 0.5)
    uniforms[:, 4] = uniform
    straight = augment(video, uniforms, crop_size=16, augmentation=WHOLE)
    assert torch.allclose(pictures(straight)[0], video[0].permute(3, 0, 1, 2).float(), atol=0.05)
    mirrored = augment(
        video, uniforms, crop_size=16, augmentation=Augmentation(**{**vars(WHOLE), "hflip": True})
    )
    expected = straight.flip(-1) if uniform < 0.5 else straight
    assert torch.allclose(mirrored, expected, atol=1e-4)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(8, 200),
    width=st.integers(8, 200),
    scale=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)).map(sorted),
)
def test_crop_boxes_lie_in_the_picture(
    seed: int, height: int, width: int, scale: list[float], ratio: list[float]
) -> None:
    augmentation = Augmentation(scale=(scale[0], scale[1]), ratio=(ratio[0], ratio[1]))
    uniforms = torch.rand(32, 4, generator=torch.Generator().manual_seed(seed))
    top, left, tall, wide = crop_boxes(
        uniforms, height=height, width=width, augmentation=augmentation
    ).unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= height + 1e-3).all()
    assert (left + wide <= width + 1e-3).all()
    assert (tall * wide <= height * width * scale[1] * 1.001).all()


def test_crop_boxes_have_the_area_and_the_shape_that_are_drawn() -> None:
    augmentation = Augmentation(scale=[0.2, 0.6], ratio=[0.5, 2.0])
    uniforms = torch.tensor([[0.5, 0.5, 0.25, 0.75], [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.5, 0.5]])
    side = math.sqrt(0.4 * 20000)  # of a square of 40 % of the picture
    expected = [
        [(100 - side) / 4, (200 - side) * 3 / 4, side, side],
        [0, 200 - math.sqrt(8000), math.sqrt(2000), math.sqrt(8000)],  # 20 %, twice as wide as high
        [0, (200 - math.sqrt(6000)) / 2, 100, math.sqrt(6000)],  # 60 %, cut to the height of the picture
    ]
    boxes = crop_boxes(uniforms, height=100, width=200, augmentation=augmentation)
    assert boxes.tolist() == [pytest.approx(box, abs=1e-4) for box in expected]


@pytest.mark.parametrize("uniforms", [(0.1, 0.5, 0.5), (0.5, 0.1, 0.5), (0.5, 0.5, 0.9), (0.9, 0.2, 0.1)])
def test_colours_change_as_with_torchvision(uniforms: tuple[float, float, float]) -> None:
    video, drawn = random_video(size=1, frames=1, height=16, width=16), torch.full((1, NUM_UNIFORMS), 0.5)
    drawn[:, 5:8] = torch.tensor(uniforms)
    how = Augmentation(scale=[1.0, 1.0], ratio=[1.0, 1.0], brightness=0.8, contrast=0.5, saturation=0.3)
    expected = video[0].permute(0, 3, 1, 2).float() / 255
    strengths = (0.8, 0.5, 0.3)
    adjust = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for one, uniform, strength in zip(adjust, uniforms, strengths, strict=True):
        expected = one(expected, 1 + (2 * uniform - 1) * strength)
    shown = pictures(augment(video, drawn, crop_size=16, augmentation=how)) / 255
    assert torch.allclose(shown[0, :, 0], expected[0], atol=1e-3)


@pytest.mark.parametrize("key", ["brightness", "contrast", "saturation"])
def test_each_strength_works_without_the_others(key: str) -> None:
    video, uniforms = random_video(size=1, height=16, width=16), torch.full((1, NUM_UNIFORMS), 0.9)
    uniforms[:, :5] = uniforms[:, 8:] = 0.5
    plain = augment(video, uniforms, crop_size=16, augmentation=WHOLE)
    changed = augment(video, uniforms, crop_size=16, augmentation=Augmentation(**{**vars(WHOLE), key: 0.5}))
    assert not torch.allclose(changed, plain, atol=0.05)


def test_the_contrast_is_that_of_the_whole_clip() -> None:
    """A grey clip that flickers about its mean flickers twice as much."""
    levels = torch.tensor([100, 120, 140], dtype=torch.uint8)
    video = levels.view(1, 3, 1, 1, 1).expand(1, 3, 16, 16, 3).contiguous()
    uniforms = torch.full((1, NUM_UNIFORMS), 0.5)
    uniforms[:, 6] = 1.0
    how = Augmentation(**{**vars(WHOLE), "contrast": 1.0})
    shown = pictures(augment(video, uniforms, crop_size=16, augmentation=how))
    assert shown[0, 0, :, 8, 8].tolist() == pytest.approx([80, 120, 160], abs=0.1)


def test_colour_jitter_stays_in_range_and_can_be_off() -> None:
    video, uniforms = random_video(height=16, width=16), torch.rand(2, NUM_UNIFORMS)
    strong = Augmentation(brightness=1.0, contrast=1.0, saturation=1.0)
    shown = pictures(augment(video, uniforms, crop_size=16, augmentation=strong))
    assert shown.min() >= -0.01
    assert shown.max() <= 255.01
    plain = pictures(augment(video, uniforms, crop_size=16, augmentation=WHOLE))
    assert torch.allclose(plain, video.permute(0, 4, 1, 2, 3).float(), atol=0.05)


def rotated(video: torch.Tensor, uniform: float, rotation: float) -> torch.Tensor:
    uniforms = torch.full((len(video), NUM_UNIFORMS), 0.5)
    uniforms[:, 8] = uniform
    how = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), rotation=rotation, **NO_COLOUR)
    return pictures(augment(video, uniforms, crop_size=video.shape[2], augmentation=how))


@pytest.mark.parametrize(("uniform", "turns"), [(0.0, 1), (1.0, -1), (0.5, 0)])
def test_rotation_is_about_the_centre(uniform: float, turns: int) -> None:
    video = random_video(size=1, height=16, width=16)
    expected = torch.rot90(video, -turns, dims=(2, 3)).permute(0, 4, 1, 2, 3).float()
    assert torch.allclose(rotated(video, uniform, 90.0), expected, atol=0.1)


def test_rotation_keeps_shapes_in_pictures_that_are_not_square() -> None:
    # A bar of 24 x 4 pixels, rotated by 90 degrees, must be 4 x 24 pixels.
    rows, columns = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(64) - 31.5, indexing="ij")
    bar = ((rows.abs() < 12) & (columns.abs() < 2)).to(torch.uint8) * 255
    video = bar[None, None, :, :, None].expand(1, 1, 40, 64, 3).contiguous()
    uniforms = torch.full((1, NUM_UNIFORMS), 0.5)
    uniforms[:, 8] = 1.0
    area = 40 * 40 / (40 * 64)
    square = Augmentation(scale=(area, area), ratio=(1.0, 1.0), rotation=90.0, **NO_COLOUR)
    shown = pictures(augment(video, uniforms, crop_size=40, augmentation=square))[0, 0, 0] > 127
    assert int(shown.any(dim=1).sum()) == 4
    assert int(shown.any(dim=0).sum()) == 24


def test_mixup_blends_each_clip_with_that_of_the_reversed_batch() -> None:
    clips, uniforms = torch.randn(3, 3, 2, 4, 4), torch.rand(3, NUM_UNIFORMS)
    mixed, mix = mix_clips(clips, uniforms, alpha=0.4)
    assert mix.shape == ()
    assert 0 <= mix <= 1
    assert torch.allclose(mixed, mix * clips + (1 - mix) * clips.flip(0), atol=1e-6)
    assert torch.allclose(mixed[1], clips[1], atol=1e-6)


@pytest.mark.parametrize("uniform", [0.0, 0.0004, 0.25, 0.5, 0.9996, 1.0])
def test_the_share_is_the_quantile_of_the_first_clips_number(uniform: float) -> None:
    uniforms = torch.rand(3, NUM_UNIFORMS)
    uniforms[0, 9] = uniform
    _, mix = mix_clips(torch.zeros(3, 3, 1, 1, 1), uniforms, alpha=0.5)
    assert float(mix) == pytest.approx(math.sin(math.pi * uniform / 2) ** 2, abs=0.003)  # the arcsine law


def test_the_extreme_numbers_give_the_extreme_shares() -> None:
    for uniform, expected in ((0.0, 0.0), (1.0, 1.0)):
        _, mix = mix_clips(torch.zeros(1, 3, 1, 1, 1), torch.full((1, NUM_UNIFORMS), uniform), alpha=4.0)
        assert float(mix) == pytest.approx(expected, abs=0.03)  # of a million draws; of a thousand: 0.07


def test_shares_rise_between_the_points_of_the_table() -> None:
    uniforms = torch.full((4, 1, NUM_UNIFORMS), 0.5)
    uniforms[:, 0, 9] = 0.5 + torch.tensor([0.1, 0.3, 0.5, 0.7]) / 1024
    shares = [float(mix_clips(torch.zeros(1, 3, 1, 1, 1), one, alpha=0.5)[1]) for one in uniforms]
    assert shares == sorted(set(shares))


def test_shares_follow_the_beta_distribution() -> None:
    draws = torch.rand(2000, NUM_UNIFORMS, generator=torch.Generator().manual_seed(0))
    clips = torch.zeros(1, 3, 1, 1, 1)
    shares = torch.stack([mix_clips(clips, draw[None], alpha=0.4)[1] for draw in draws])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)
