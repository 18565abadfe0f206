"""What a raw file's length and picture size say about whose it is. Pure functions of numbers.

The thresholds come from 57 real WLASL100 clips whose owner is known, and from the authors'
``nslt_100.json``, where a whole clip's ``end`` is its length at 25 fps plus 0 to 3.
"""

from __future__ import annotations

from enum import Enum

from asl.datasets.instance import Instance
from asl.preprocess.sources.raw_files import RawVideo

#: ``end - 25 x duration`` of a clip's own file: between -0.5 and 2.9 in 57 of 57 clips. One frame is
#: added on both sides for durations that containers round.
OWN_EXCESS = (-1.0, 4.0)

#: Outside of this a file is not the instance's. A frame more than OWN_EXCESS on both sides, so that
#: no file can count as one instance's and be near to another's. In 284 of the 340 pairs of WLASL100
#: instances that share an .mp4 name, the published ends lie more than 4 frames apart.
POSSIBLE_EXCESS = (-2.0, 5.0)

#: A file that only one video can have meant is still doubted if its length is this far off: half a
#: second, four times the spread of the 57 clips. Re-encoding and trimming by a site move less.
SUSPECT_EXCESS = (-12.0, 15.0)

#: The box fits into the picture, a pixel or two aside: 56 of 57 clips.
FITTING_SCALE = 1.02

#: The one clip of 57 whose box did not fit had been downloaded at a lower resolution. Beyond this
#: ratio (1080 lines to 240) no such download explains it.
LARGEST_DOWNSCALE = 4.5


class Verdict(Enum):
    """What evidence says of a file and an instance."""

    OWN = "own"  # agrees as closely as an instance's own file does
    POSSIBLE = "possible"  # cannot be ruled out
    FOREIGN = "foreign"  # is not this instance's file
    UNKNOWN = "unknown"  # nothing to compare


def excess_frames(published_end: float, duration_s: float, fps: float = 25.0) -> float:
    """By how many frames the published end exceeds a file's length.

    >>> excess_frames(55, 2.12)  # 53 frames: two more were published
    2.0
    """
    return round(published_end - fps * duration_s, 6)


def length_verdict(published_end: float | None, duration_s: float, fps: float = 25.0) -> Verdict:
    """Whether a file is as long as was published for a clip that reaches to its end."""
    if published_end is None or duration_s <= 0:
        return Verdict.UNKNOWN
    excess = excess_frames(published_end, duration_s, fps)
    if OWN_EXCESS[0] <= excess <= OWN_EXCESS[1]:
        return Verdict.OWN
    if POSSIBLE_EXCESS[0] <= excess <= POSSIBLE_EXCESS[1]:
        return Verdict.POSSIBLE
    return Verdict.FOREIGN


def box_scale(bbox: tuple[int, int, int, int], width: int, height: int) -> float:
    """How much larger than the picture the original must have been for the box to lie inside it.

    One scale for both directions; at most 1 if the box fits as it is.

    >>> box_scale((385, 37, 885, 720), 1280, 720)
    1.0
    >>> box_scale((385, 37, 885, 720), 640, 360)  # the same clip at half the size
    2.0
    """
    return max(bbox[2] / width, bbox[3] / height)


def box_verdict(bbox: tuple[int, int, int, int] | None, width: int, height: int) -> Verdict:
    """Whether the box fits into the picture as it is (OWN) or up to a common scale (POSSIBLE).

    OWN is weak here: the boxes of most instances fit into most pictures. FOREIGN is strong.
    """
    if bbox is None or width <= 0 or height <= 0 or max(bbox) <= 0:
        return Verdict.UNKNOWN
    scale = box_scale(bbox, width, height)
    if scale <= FITTING_SCALE:
        return Verdict.OWN
    return Verdict.POSSIBLE if scale <= LARGEST_DOWNSCALE else Verdict.FOREIGN


def doubt(
    instance: Instance, raw: RawVideo | None, published_end: float | None, fps: float = 25.0
) -> str | None:
    """Why a file that only one video can have meant still looks wrong; None if it does not."""
    if raw is None:
        return None
    if instance.end_s is None and published_end is not None and raw.duration_s > 0:
        excess = excess_frames(published_end, raw.duration_s, fps)
        if not SUSPECT_EXCESS[0] <= excess <= SUSPECT_EXCESS[1]:
            return (
                f"is {raw.duration_s:.2f} s long, but {published_end / fps:.2f} s were published for it "
                f"({excess:+.0f} frames)"
            )
    if box_verdict(instance.bbox, raw.width, raw.height) is Verdict.FOREIGN:
        return (
            f"is {raw.width}x{raw.height}, and the signer's box {list(instance.bbox or ())} lies far outside"
        )
    return None
