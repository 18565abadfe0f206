"""Check that decord, which ``train.py reader=decord`` uses, reads clips as the manifest describes them."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asl.contract.manifest import Clip
from asl.workers import Failed, Workers

_NOT_INSTALLED = (
    "no clip was opened with decord, which is not installed: it has wheels for Linux on x86-64 only"
)


@dataclass(frozen=True)
class ProbeResult:
    """What opening one clip with decord gave."""

    agrees: bool  # with the manifest, as far as it was checked
    message: str  # one line


def probe_with_decord(path: str) -> tuple[int, int, int]:
    """``(frames, height, width)`` of a clip. Decodes its first, middle and last frame.

    Run it in a worker process: decord can hang or crash.
    """
    import decord

    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    count = len(reader)
    height, width, _ = reader.get_batch([0, count // 2, count - 1]).asnumpy().shape[1:]
    return count, height, width


def _is_installed() -> bool:
    return importlib.util.find_spec("decord") is not None


class DecordProbe:
    """Opens randomly chosen clips with decord in the background.

    Args:
        clips: rows of the manifest.
        data_dir: folder that the clips' paths are relative to.
        count: how many clips to open.
        seed: of the random choice.
        workers: processes that open them.
        timeout_s: time limit for each clip.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        data_dir: Path,
        count: int,
        seed: int,
        workers: Workers,
        timeout_s: float,
    ) -> None:
        self._installed = _is_installed()
        chosen = random.Random(seed).sample(list(clips), min(count, len(clips)))
        self._clip_of = {str(data_dir / clip.path): clip for clip in chosen}
        paths = list(self._clip_of) if self._installed else []
        self._ended = workers.run_each(probe_with_decord, paths, timeout_s=timeout_s)

    def results(self) -> Iterator[ProbeResult]:
        """Wait for the clips and yield a result for each, or one result if decord is not installed."""
        if self._clip_of and not self._installed:
            yield ProbeResult(True, _NOT_INSTALLED)
        for ended in self._ended:
            clip = self._clip_of[ended.task]
            if isinstance(ended, Failed):
                yield ProbeResult(False, f"decord cannot read {clip.path}: {ended.message}")
                continue
            frames, height, width = ended.result
            expected = (clip.num_frames, clip.height, clip.width)
            agrees = ended.result == expected
            verdict = "as the manifest says" if agrees else f"but the manifest says {expected}"
            yield ProbeResult(
                agrees, f"decord reads {clip.path}: {frames} frames, {width}x{height}, {verdict}"
            )
