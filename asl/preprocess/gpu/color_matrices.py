"""Weights of red and blue in the luma, by the number of the YUV matrix in ITU-T H.273."""

from __future__ import annotations

#: Numbers 5 and 6, and what FFmpeg takes for those that are unknown or unspecified.
BT601 = (0.299, 0.114)

LUMA_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
LUMA_WEIGHTS[10] = LUMA_WEIGHTS[9]  # BT.2020 with constant luminance, which FFmpeg converts like 9
