"""The built-in data set: rendered signers, and raw files with every trap of real downloads.

``python -m asl.demo`` makes it; :func:`make_demo` does so from Python, :func:`read_truth` tells what
preprocessing should find in it, and :func:`read_frame_number` which frame a picture shows.
"""

from asl.demo.frame_number import UnreadableFrameNumberError, read_frame_number
from asl.demo.glosses import GLOSSES, Gloss
from asl.demo.make import Demo, DemoError, make_demo, read_truth

__all__ = [
    "GLOSSES",
    "Demo",
    "DemoError",
    "Gloss",
    "UnreadableFrameNumberError",
    "make_demo",
    "read_frame_number",
    "read_truth",
]
