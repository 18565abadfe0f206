"""Renders signers: body, skin, clothes, background, pace and handedness vary.

Lengths are in image heights; x counts from the middle of the image, y from its top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from asl.demo.frame_number import write_frame_number
from asl.demo.glosses import HANDS, Gloss, hand_position

Colour = tuple[int, int, int]

_SKINS: tuple[Colour, ...] = (
    (250, 220, 196),
    (241, 194, 160),
    (224, 172, 128),
    (205, 150, 108),
    (190, 134, 94),
    (174, 120, 84),
)
_HAIRS: tuple[Colour, ...] = ((24, 18, 16), (60, 38, 22), (110, 76, 40), (78, 78, 82), (92, 40, 24))
_SUPERSAMPLING = 2


@dataclass(frozen=True)
class Signer:
    """Appearance and rest position of a signer, which are the same in every gloss and do not reveal it."""

    signer_id: int
    left_handed: bool  # the stronger hand rests higher; the watch is on the other wrist
    scale: float  # body size
    x: float  # position of the body
    shoulder: float  # half the width of the shoulders
    hand: float  # radius of a hand
    long_hair: bool
    skin: Colour
    hair: Colour
    clothes: Colour
    background: Colour
    background_slope: float  # how much brighter the background is on one side
    furniture: float  # x of a dark piece of furniture in the background


@dataclass(frozen=True)
class Performance:
    """One performance of a gloss: its time, size and evenness.

    Times are in seconds of the raw file. The hand leaves its rest position at ``start_s``, moves to the
    circle, round it, and is back at rest at ``start_s + duration_s``.
    """

    gloss: Gloss
    start_s: float
    duration_s: float
    centre: tuple[float, float]  # of the circle, relative to its usual position
    radius: float
    unevenness: float  # amplitude of the speed around its mean, 0 to 1
    unevenness_phase: float


_TRANSIT = 0.12  # fraction of a performance in which the hand moves from rest to the circle, and back


def make_signer(signer_id: int, seed: int) -> Signer:
    """A signer, the same for the same arguments. The hands are the brightest part of the image."""
    rng = np.random.default_rng([seed, 1, signer_id])
    skin = _SKINS[rng.integers(len(_SKINS))]
    dark = 0.42 * sum(skin) / 3  # upper limit of clothes and background

    def dark_colour() -> Colour:
        r, g, b = rng.uniform(0.25, 1.0, 3) * dark
        return int(r), int(g), int(b)

    return Signer(
        signer_id=signer_id,
        left_handed=signer_id % 3 == 2,
        scale=rng.uniform(0.9, 1.08),
        x=rng.uniform(-0.05, 0.05),
        shoulder=rng.uniform(0.17, 0.22),
        hand=rng.uniform(0.062, 0.078),
        long_hair=bool(rng.integers(2)),
        skin=skin,
        hair=_HAIRS[rng.integers(len(_HAIRS))],
        clothes=dark_colour(),
        background=dark_colour(),
        background_slope=rng.uniform(-0.3, 0.3),
        furniture=rng.uniform(-0.6, 0.6),
    )


def make_performance(
    gloss: Gloss, start_s: float, duration_s: float, rng: np.random.Generator
) -> Performance:
    """A performance of random size, position and evenness, distributed equally for all glosses."""
    return Performance(
        gloss=gloss,
        start_s=start_s,
        duration_s=duration_s,
        centre=(rng.uniform(-0.02, 0.02), rng.uniform(-0.03, 0.03)),
        radius=rng.uniform(0.18, 0.22),
        unevenness=rng.uniform(0.0, 0.3),
        unevenness_phase=rng.uniform(0, 2 * math.pi),
    )


def hands_at(
    signer: Signer, performances: tuple[Performance, ...], time_s: float
) -> dict[str, tuple[float, float]]:
    """The position ``(x, y)`` of the signer's ``right`` and ``left`` hand at ``time_s``, in image heights."""
    hands = {}
    for hand in HANDS:
        side = -1 if hand == "right" else 1
        stronger = (hand == "left") == signer.left_handed
        y = 0.90 if stronger else 0.94
        breath = 0.006 * math.sin(2 * math.pi * time_s / 3.1 + side)
        hands[hand] = _on_body(signer, side * 0.22, y + breath)
    for performance in performances:
        progress = (time_s - performance.start_s) / performance.duration_s
        if performance.start_s <= time_s < performance.start_s + performance.duration_s:
            rest = hands[performance.gloss.hand]
            hands[performance.gloss.hand] = _moving_hand(signer, performance, progress, rest)
    return hands


def render_frame(
    signer: Signer,
    performances: tuple[Performance, ...],
    time_s: float,
    frame_number: int,
    width: int,
    height: int,
) -> np.ndarray:
    """A frame of the raw file, (height, width, 3) uint8, with its frame number along the top."""
    s = _SUPERSAMPLING * height
    image = _background(signer, _SUPERSAMPLING * width, s)
    pen = ImageDraw.Draw(image)
    middle = _SUPERSAMPLING * width / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return middle + x * s, y * s

    def ellipse(x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        pen.ellipse([at(x - rx, y - ry), at(x + rx, y + ry)], fill=colour)

    sway = 0.004 * math.sin(2 * math.pi * time_s / 4.3)
    k = signer.scale
    head_x, head_y = _on_body(signer, sway, 0.27)
    if signer.long_hair:
        ellipse(head_x, head_y + 0.04, 0.115 * k, 0.17 * k, signer.hair)
    neck = [
        at(*_on_body(signer, x + sway, y))
        for x, y in ((-0.04, 0.3), (0.04, 0.3), (0.05, 0.46), (-0.05, 0.46))
    ]
    pen.polygon(neck, fill=_dimmed(signer.skin, 0.6))
    w = signer.shoulder
    torso = ((-w, 0.46), (-0.06, 0.41), (0.06, 0.41), (w, 0.46), (w * 0.95, 1.2), (-w * 0.95, 1.2))
    pen.polygon([at(*_on_body(signer, x + sway, y)) for x, y in torso], fill=signer.clothes)
    ellipse(head_x, head_y, 0.095 * k, 0.13 * k, signer.hair)
    # The face is dimmer than the hands, so that the moving part is the brightest.
    ellipse(head_x, head_y + 0.025, 0.08 * k, 0.105 * k, _dimmed(signer.skin, 0.7))
    for hand, (x, y) in hands_at(signer, performances, time_s).items():
        side = -1 if hand == "right" else 1
        shoulder = _on_body(signer, side * w + sway, 0.49)
        elbow = ((shoulder[0] + x) / 2 + side * 0.07, (shoulder[1] + y) / 2 + 0.10)
        sleeve = _dimmed(signer.clothes, 0.75)
        pen.line([at(*shoulder), at(*elbow), at(x, y)], fill=sleeve, width=round(0.075 * s), joint="curve")
        if (hand == "left") != signer.left_handed:  # a watch, on the weaker side
            wx, wy = x + 0.3 * (elbow[0] - x), y + 0.3 * (elbow[1] - y)
            ellipse(wx, wy, 0.025, 0.025, _dimmed(signer.skin, 0.35))
        ellipse(x, y, signer.hand * k, 1.15 * signer.hand * k, signer.skin)
    picture = np.array(image.resize((width, height), Image.Resampling.BOX))
    write_frame_number(picture, frame_number)
    return picture


def bounding_box(signer: Signer, width: int, height: int) -> tuple[int, int, int, int]:
    """``(left, top, right, bottom)`` of the person and the area in which the hands move, in pixels."""
    left, top = _on_body(signer, -0.50, 0.12)
    right, _ = _on_body(signer, 0.50, 0.12)
    xs = [min(max(round(width / 2 + x * height), 0), width) for x in (left, right)]
    return xs[0], max(round(top * height), 0), xs[1], height


def _moving_hand(
    signer: Signer, performance: Performance, share: float, rest: tuple[float, float]
) -> tuple[float, float]:
    progress = min(max((share - _TRANSIT) / (1 - 2 * _TRANSIT), 0.0), 1.0)
    amplitude, phase = performance.unevenness / (2 * math.pi), performance.unevenness_phase
    progress += amplitude * (math.sin(2 * math.pi * progress + phase) - math.sin(phase))
    x, y = hand_position(performance.gloss, min(max(progress, 0.0), 1.0))
    side = performance.gloss.side
    on_circle = _on_body(
        signer,
        side * (0.29 + performance.centre[0]) + performance.radius * x,
        0.58 + performance.centre[1] + performance.radius * y,
    )
    transit = min(share, 1 - share) / _TRANSIT  # 0 at rest, 1 on the circle
    if transit >= 1:
        return on_circle
    smooth = transit * transit * (3 - 2 * transit)
    return (
        rest[0] + smooth * (on_circle[0] - rest[0]),
        rest[1] + smooth * (on_circle[1] - rest[1]),
    )


def _on_body(signer: Signer, x: float, y: float) -> tuple[float, float]:
    """Convert a position on an average body to one in the image. Bodies scale about the waist (y = 0.9)."""
    return signer.x + signer.scale * x, 0.9 + signer.scale * (y - 0.9)


def _background(signer: Signer, width: int, height: int) -> Image.Image:
    slope = 1 + signer.background_slope * np.linspace(-1, 1, width)
    row = np.clip(slope[:, None] * np.array(signer.background), 0, 255).astype(np.uint8)
    left = int(width / 2 + (signer.furniture - 0.08) * height)
    row[max(left, 0) : max(left + int(0.16 * height), 0)] //= 2
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(row, (height, width, 3))))


def _dimmed(colour: Colour, share: float) -> Colour:
    r, g, b = colour
    return int(r * share), int(g * share), int(b * share)
