"""Whether decord, which training reads with, sees a clip as the manifest describes it."""

from __future__ import annotations


def probe_with_decord(path: str) -> tuple[int, int, int]:
    """``(frames, height, width)``, every frame decoded. Call it where it may hang or crash."""
    import decord  # only in the worker process that may be killed

    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    frames = reader.get_batch(range(len(reader))).asnumpy()  # (T, H, W, 3) uint8
    return frames.shape[0], frames.shape[1], frames.shape[2]
