"""The built-in data set: rendered signers, in raw files with the irregularities of real downloads.

``python -m asl.demo`` makes it, as does :func:`make_demo` from Python. :func:`read_truth` returns the results
that preprocessing should have, and :func:`read_frame_number` the number of the frame that an image shows.
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
