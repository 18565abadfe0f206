"""The door through which another device, such as a GPU, takes over a part of the host's work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from asl.preprocess.clips.cut import CutError
from asl.preprocess.clips.host_queue import cut_on_host
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.workers import Workers


@dataclass(frozen=True)
class FramesByDevice:
    """Frames that the device made."""

    published: int = 0  # clips whose frames were verified and stored
    refused: Sequence[Cut] = ()  # proven clips that the host did not claim and whose frames it must make
    reasons: Mapping[str, int] = field(default_factory=dict)  # clips that were left to the host, by reason


class Accelerator(Protocol):
    """Makes clips, or frames of clips, on another device while the host works."""

    def start(self, cuts: Sequence[Cut]) -> None:
        """Begin to make the frames of these clips, if the device makes frames apart from clips.

        Returns at once; call it once, before the clips are made.
        """

    def make_clips(
        self, cuts: Sequence[Cut], workers: Workers, *, timeout_s: float
    ) -> Iterator[tuple[Cut, Proof | CutError]]:
        """Make clips on the device and on the host; yields each as it ends.

        Args:
            cuts: the clips.
            workers: processes of the host, for what the device cannot do.
            timeout_s: time limit of a task.
        """

    def claim_for_host(self, video_id: str) -> bool:
        """Whether the host makes the frames of this clip. If True, the device leaves them alone."""

    def finish(self, proofs: Mapping[str, Proof], workers: Workers) -> FramesByDevice:
        """Wait for the device, verify its frames and store those that match the proof.

        Args:
            proofs: of all clips, by video_id.
            workers: host processes that verify.
        """


class HostOnly:
    """No other device: the host makes everything."""

    def start(self, cuts: Sequence[Cut]) -> None:
        """Nothing to start."""

    def make_clips(
        self, cuts: Sequence[Cut], workers: Workers, *, timeout_s: float
    ) -> Iterator[tuple[Cut, Proof | CutError]]:
        """Make all clips on the host."""
        return cut_on_host(cuts, workers, timeout_s=timeout_s)

    def claim_for_host(self, video_id: str) -> bool:
        """True for every clip."""
        return True

    def finish(self, proofs: Mapping[str, Proof], workers: Workers) -> FramesByDevice:
        """Nothing was made elsewhere."""
        return FramesByDevice()
