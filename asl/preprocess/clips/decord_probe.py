"""Whether decord, which training reads with, sees a clip as the manifest describes it."""

from __future__ import annotations


def probe_with_decord(path: str) -> tuple[int, int, int]:
    """``(frames, height, width)``; the first, middle and last frame are decoded.

    Call it where it may hang or crash.
    """
    import decord  # only in the worker process that may be killed

    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    count = len(reader)
    height, width, _ = reader.get_batch([0, count // 2, count - 1]).asnumpy().shape[1:]
    return count, height, width
