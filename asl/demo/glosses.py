"""The glosses of the demo as pure functions of time: which hand moves, and where it is.

All eight lead one hand round the same circle in front of its shoulder, at the same speed, from rest
and back to rest, so a single frame tells which hand moves and nothing else. What tells glosses apart
is the order of the frames and the hand:

==========  ========================================================  ====================
motion      way of the hand, from the lowest point of the circle       played backwards
==========  ========================================================  ====================
circle out  twice round, away from the body first                     circle in
circle in   twice round, towards the body first                       circle out
swing out   outer half up and back down, then inner half up and down  swing in
swing in    inner half up and back down, then outer half up and down  swing out
==========  ========================================================  ====================

A mirrored clip shows the same motion of the other hand. The hand is the signer's own: a left-handed
signer signs "right circle out" with the right hand too. Being left-handed shows in how a signer
looks and rests (see :mod:`asl.demo.signer`), which is the same in every gloss.
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
    """One class: a hand of :data:`HANDS` and a motion of :data:`MOTIONS`."""

    hand: str
    motion: str

    @property
    def name(self) -> str:
        """What the metadata calls it, such as ``right circle out``."""
        return f"{self.hand} {self.motion}"

    @property
    def side(self) -> int:
        """Where the moving hand is in the picture: -1 left (the signer's right hand), 1 right."""
        return -1 if self.hand == "right" else 1

    def backwards(self) -> Gloss:
        """The gloss that this one becomes when its frames are played backwards."""
        return Gloss(self.hand, _BACKWARDS[self.motion])

    def mirrored(self) -> Gloss:
        """The gloss that this one becomes when the picture is mirrored."""
        return Gloss("left" if self.hand == "right" else "right", self.motion)


GLOSSES = tuple(Gloss(hand, motion) for hand in HANDS for motion in MOTIONS)


def angle(motion: str, progress: float) -> float:
    """How far round the circle the hand is, in radians from its lowest point, outwards positive.

    Args:
        motion: one of :data:`MOTIONS`.
        progress: share of the motion that is done, 0 to 1. The speed is 4π a motion in all four.
    """
    if motion == "circle out":
        return 4 * math.pi * progress
    if motion == "circle in":
        return -4 * math.pi * progress
    outer_first = math.pi * (1 - abs(1 - 4 * (progress % 0.5)))
    sign = 1 if (progress < 0.5) == (motion == "swing out") else -1
    return sign * outer_first


def hand_position(gloss: Gloss, progress: float) -> tuple[float, float]:
    """Where the moving hand is, from the centre of its circle, in radii.

    Returns:
        ``(x, y)``, x to the right of the picture, y downwards.
    """
    theta = angle(gloss.motion, progress)
    return gloss.side * math.sin(theta), math.cos(theta)
