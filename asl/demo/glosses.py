"""The glosses of the demo as pure functions of time: which hand moves, and where it is.

In all eight, one hand moves round the same circle in front of its shoulder, at the same speed, from rest
and back to rest. A single frame shows only which hand moves; glosses differ in the hand and in the order
of the frames:

==========  ========================================================  ====================
motion      path of the hand, from the lowest point of the circle      played backwards
==========  ========================================================  ====================
circle out  twice round, away from the body first                     circle in
circle in   twice round, towards the body first                       circle out
swing out   outer half up and back down, then inner half up and down  swing in
swing in    inner half up and back down, then outer half up and down  swing out
==========  ========================================================  ====================

A mirrored clip shows the same motion of the other hand. The hand of a gloss is fixed: a left-handed signer
signs "right circle out" with the right hand, too. Handedness shows only in a signer's appearance and rest
position (see :mod:`asl.demo.signer`), which are the same in every gloss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HANDS = ("right", "left")
MOTIONS = ("circle out", "circle in", "swing out", "swing in")
_BACKWARDS = {
    "circle out": "circle in",
    "circle in": "circle out",
    "swing out": "swing in",
    "swing in": "swing out",
}


@dataclass(frozen=True)
class Gloss:
    """A class: a hand of :data:`HANDS` and a motion of :data:`MOTIONS`."""

    hand: str
    motion: str

    @property
    def name(self) -> str:
        """The gloss in the metadata, such as ``right circle out``."""
        return f"{self.hand} {self.motion}"

    @property
    def side(self) -> int:
        """The side of the image on which the hand moves: -1 left (the signer's right hand), 1 right."""
        return -1 if self.hand == "right" else 1

    def backwards(self) -> Gloss:
        """The gloss that this one becomes if its frames are reversed."""
        return Gloss(self.hand, _BACKWARDS[self.motion])

    def mirrored(self) -> Gloss:
        """The gloss that this one becomes if its frames are mirrored."""
        return Gloss("left" if self.hand == "right" else "right", self.motion)


GLOSSES = tuple(Gloss(hand, motion) for hand in HANDS for motion in MOTIONS)


def angle(motion: str, progress: float) -> float:
    """The angle of the hand on its circle in radians, 0 at the lowest point, positive outwards.

    Args:
        motion: one of :data:`MOTIONS`.
        progress: completed fraction of the motion, 0 to 1. All four motions travel 4π at constant speed.
    """
    if motion == "circle out":
        return 4 * math.pi * progress
    if motion == "circle in":
        return -4 * math.pi * progress
    outer_first = math.pi * (1 - abs(1 - 4 * (progress % 0.5)))
    sign = 1 if (progress < 0.5) == (motion == "swing out") else -1
    return sign * outer_first


def hand_position(gloss: Gloss, progress: float) -> tuple[float, float]:
    """The position of the moving hand relative to the centre of its circle, in radii.

    Returns:
        ``(x, y)``, x to the right of the image, y downwards.
    """
    theta = angle(gloss.motion, progress)
    return gloss.side * math.sin(theta), math.cos(theta)
