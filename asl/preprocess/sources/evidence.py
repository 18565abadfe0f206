"""Whether a raw file can be an instance's source, judged by its length and picture size.

The thresholds come from 57 real WLASL100 clips whose source is known, and from the authors'
``nslt_100.json``, where a whole clip's ``end`` is its length at 25 fps plus 0 to 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from asl.datasets.instance import Box, Instance
from asl.preprocess.sources.raw_files import RawVideo

#: ``published frames - fps x duration`` of a clip's own file: between -0.5 and 2.9 in 57 of 57 clips. One
#: frame is added on both sides for durations that containers round.
MATCHING_EXCESS = (-1.0, 4.0)

#: Outside this range a file is not the instance's. It is a frame wider on both sides than
#: MATCHING_EXCESS, so that a file that matches one instance is never just outside another's range. In 284
#: of the 340 pairs of WLASL100 instances that share an .mp4 name, the published lengths lie more than 4
#: frames apart.
POSSIBLE_EXCESS = (-2.0, 5.0)

#: Outside this range a file is suspect even if its name fits one video only. Half a second, four times
#: the spread of the 57 clips: re-encoding and trimming by a site change the length by less.
PLAUSIBLE_EXCESS = (-12.0, 15.0)

#: The box exceeds the picture by a pixel or two at most: 56 of 57 clips.
FITTING_SCALE = 1.02

#: The one clip of 57 whose box did not fit had been downloaded at a lower resolution. Beyond this ratio
#: (1080 lines to 240) no such download explains it.
LARGEST_DOWNSCALE = 4.5


class Verdict(Enum):
    """Whether a file can be an instance's source."""

    MATCHES = "matches"  # agrees as closely as an instance's own file does
    POSSIBLE = "possible"  # can be neither confirmed nor ruled out
    RULED_OUT = "ruled out"
    UNKNOWN = "unknown"  # nothing to compare


def excess_frames(published_frames: float, duration_s: float, fps: float = 25.0) -> float:
    """By how many frames the published length exceeds a file's duration.

    >>> excess_frames(55, 2.12)  # the file has 53 frames
    2.0
    """
    return round(published_frames - fps * duration_s, 6)


def length_verdict(published_frames: float | None, duration_s: float, fps: float = 25.0) -> Verdict:
    """Compare a file's duration with the length published for a whole clip, in frames at ``fps``."""
    if published_frames is None or duration_s <= 0:
        return Verdict.UNKNOWN
    excess = excess_frames(published_frames, duration_s, fps)
    if MATCHING_EXCESS[0] <= excess <= MATCHING_EXCESS[1]:
        return Verdict.MATCHES
    if POSSIBLE_EXCESS[0] <= excess <= POSSIBLE_EXCESS[1]:
        return Verdict.POSSIBLE
    return Verdict.RULED_OUT


def box_scale(box: Box, width: int, height: int) -> float:
    """How many times larger than this picture the original must have been to contain a box in pixels.

    One scale for both directions; at most 1 if the box fits as it is.

    >>> box_scale(Box(385, 37, 885, 720), 1280, 720)
    1.0
    >>> box_scale(Box(385, 37, 885, 720), 640, 360)  # the same clip at half the size
    2.0
    """
    return max(box.right / width, box.bottom / height)


def box_verdict(box: Box | None, width: int, height: int) -> Verdict:
    """Whether the picture contains the box as it is (MATCHES) or after scaling both sides (POSSIBLE).

    MATCHES is weak evidence: the boxes of most instances fit into most pictures. RULED_OUT is strong.
    UNKNOWN for a box in shares, which fits into every picture.
    """
    if box is None or box.unit == "shares" or width <= 0 or height <= 0:
        return Verdict.UNKNOWN
    if max(box.left, box.top, box.right, box.bottom) <= 0:
        return Verdict.UNKNOWN
    scale = box_scale(box, width, height)
    if scale <= FITTING_SCALE:
        return Verdict.MATCHES
    return Verdict.POSSIBLE if scale <= LARGEST_DOWNSCALE else Verdict.RULED_OUT


def box_in_shares(box: Box | None, width: int, height: int) -> tuple[float, float, float, float] | None:
    """The box as left, top, right and bottom in shares of a file's picture. None if it does not fit the file.

    It does not fit if it is empty or lies outside the picture, or if the original is known to have another
    aspect ratio or, where only its width or height is known, another one than the file. Where neither is
    known, a box in pixels is taken as it is.

    >>> box_in_shares(Box(320, 36, 960, 720, width=1280, height=720), 640, 360)
    (0.25, 0.05, 0.75, 1.0)
    """
    if box is None or width <= 0 or height <= 0:
        return None
    across, down = box.width or width, box.height or height
    if box.width and box.height:
        fits = _about(box.width / box.height, width / height)
    else:
        fits = _about(across, width) and _about(down, height)
    edges = (box.left, box.top, box.right, box.bottom)
    if box.unit == "pixels":
        edges = (box.left / across, box.top / down, box.right / across, box.bottom / down)
    fits = fits and all(1 - FITTING_SCALE <= edge <= FITTING_SCALE for edge in edges)
    left, top, right, bottom = (round(min(max(edge, 0.0), 1.0), 4) for edge in edges)
    return (left, top, right, bottom) if fits and left < right and top < bottom else None


def _about(one: float, other: float) -> bool:
    return max(one, other) <= FITTING_SCALE * min(one, other)


@dataclass(frozen=True)
class Evidence:
    """What is known of raw files and instances besides names. Any entry may be missing.

    Args:
        raw_videos: duration and picture size, by file.
        published_frames: published lengths of sources, by video_id, in frames at ``fps``.
        fps: rate at which the metadata counts frames.
    """

    raw_videos: Mapping[str, RawVideo] = field(default_factory=dict)
    published_frames: Mapping[str, float] = field(default_factory=dict)
    fps: float = 25.0

    def length(self, instance: Instance, file: str) -> Verdict:
        """Compare the file's duration with the published one. UNKNOWN for segments of a longer file."""
        raw = self.raw_videos.get(file)
        if raw is None or instance.end_s is not None:
            return Verdict.UNKNOWN
        return length_verdict(self.published_frames.get(instance.video_id), raw.duration_s, self.fps)

    def box(self, instance: Instance, file: str) -> Verdict:
        """Whether the file's picture contains the signer's box."""
        raw = self.raw_videos.get(file)
        return Verdict.UNKNOWN if raw is None else box_verdict(instance.box, raw.width, raw.height)

    def objection(self, instance: Instance, file: str) -> str | None:
        """Why a file whose name fits this video alone still looks wrong. None if it does not."""
        raw = self.raw_videos.get(file)
        if raw is None:
            return None
        counted, fps = instance.source_fps, raw.fps
        if counted and fps and not _about(counted, fps):
            return f"has {fps:g} frames a second, but the frames of its span were counted at {counted:g}"
        published = self.published_frames.get(instance.video_id)
        if instance.end_s is None and published is not None and raw.duration_s > 0:
            excess = excess_frames(published, raw.duration_s, self.fps)
            if not PLAUSIBLE_EXCESS[0] <= excess <= PLAUSIBLE_EXCESS[1]:
                return (
                    f"is {raw.duration_s:.2f} s long, but {published / self.fps:.2f} s were published for it "
                    f"({excess:+.0f} frames)"
                )
        box = instance.box
        if box is not None and self.box(instance, file) is Verdict.RULED_OUT:
            edges = [box.left, box.top, box.right, box.bottom]
            return f"is {raw.width}x{raw.height}, and the signer's box {edges} lies far outside"
        return None
