"""Which clips a run makes: one :class:`Cut` for each instance that has a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from asl.codecs.encoder import Encoder
from asl.codecs.frame_collector import FramesRequest
from asl.contract.frame_store import FrameSpec, frames_path, origin
from asl.contract.paths import Paths
from asl.datasets.instance import Instance
from asl.preprocess.sources.matching import Match, Unmatched, signer_box
from asl.preprocess.sources.raw_files import USUAL, RawVideo


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """One clip to make: the frames of ``source`` whose time lies in ``[start_s, end_s)``."""

    video_id: str
    source: Path
    target: Path
    thumbnails: Path  # a JPEG, see thumbnails.py
    start_s: Fraction
    end_s: Fraction | None  # None: to the end of the source
    end_tolerance_s: Fraction  # how far end_s may lie past the end of the source
    encoder: Encoder
    audio: bool
    frames: FramesRequest | None = None  # frames for training that this cut also stores; None: none
    raw: RawVideo | None = None  # the source's header; None if the source could not be opened

    @property
    def is_whole(self) -> bool:
        """Whether the clip is its whole source."""
        return self.start_s == 0 and self.end_s is None

    @property
    def can_be_copied_unopened(self) -> bool:
        """See :attr:`RawVideo.can_be_copied_unopened`."""
        return self.raw is not None and self.raw.can_be_copied_unopened

    def estimated_length(self) -> tuple[float, float]:
        """Estimated duration in seconds and number of frames of the clip, from the source's header."""
        raw = self.raw or USUAL
        end_s = raw.duration_s if self.end_s is None else float(self.end_s)
        duration_s = max(0.0, end_s - float(self.start_s)) or USUAL.duration_s
        return duration_s, duration_s * (raw.fps or USUAL.fps)

    def estimated_ms(self) -> float:
        """Estimated time of the cut in milliseconds on one core of the machine in benchmarks/README.md."""
        raw, (_, frames) = self.raw or USUAL, self.estimated_length()
        frame_ms = 0.2 + raw.width * raw.height * 2e-6  # decoding a frame and shrinking it
        return frames * frame_ms * (1 if self.is_whole and raw.codec == "h264" else 4)  # encoding adds three


def plan_cuts(
    instances: Iterable[Instance],
    matches: Mapping[str, Match | Unmatched],
    raw_videos: Mapping[str, RawVideo],
    *,
    raw_dir: Path,
    folders: Mapping[str, str],
    paths: Paths,
    encoder: Encoder,
    audio: bool,
    frames: FrameSpec | None,
    fps: float,
    end_tolerance_s: float | None,
) -> list[Cut]:
    """One cut for each instance that has a source, in the order of the instances.

    Args:
        instances: rows of the metadata, with the official split.
        matches: their sources, by video_id.
        raw_videos: headers of the raw files, by path relative to the raw folder.
        raw_dir: the raw folder.
        folders: the name of each gloss's folder.
        paths: where clips are.
        encoder: for clips that cannot be copied.
        audio: whether clips keep their sound.
        frames: which frames to store for training; None: none.
        fps: frame rate in which the metadata counts frames.
        end_tolerance_s: how far a segment may reach past the end of its source; None: one frame at ``fps``.

    Raises:
        OSError: a source is gone.
    """
    one_frame_s = 1 / Fraction(fps).limit_denominator(1001)  # 1001: NTSC rates such as 30000/1001
    tolerance_s = one_frame_s if end_tolerance_s is None else Fraction(end_tolerance_s)
    cuts = []
    sources: dict[str, Path] = {}  # one object for all segments of a source
    for instance in instances:
        match = matches[instance.video_id]
        if isinstance(match, Unmatched):
            continue
        source = sources.setdefault(match.source, raw_dir / match.source)
        raw = raw_videos.get(match.source)
        cuts.append(
            Cut(
                video_id=instance.video_id,
                source=source,
                target=paths.clip(instance.split, folders[instance.gloss], instance.video_id),
                thumbnails=paths.thumbnails(instance.video_id),
                start_s=instance.start_s,
                end_s=instance.end_s,
                end_tolerance_s=tolerance_s,
                encoder=encoder,
                audio=audio,
                frames=None
                if frames is None
                else _frames_of(instance, match, source, raw, Path(paths.frames_dir), frames),
                raw=raw,
            )
        )
    return cuts


def _frames_of(
    instance: Instance,
    match: Match,
    source: Path,
    raw: RawVideo | None,
    frames_dir: Path,
    spec: FrameSpec,
) -> FramesRequest:
    end_s = None if instance.end_s is None else float(instance.end_s)
    part = None if raw is None else spec.part(*raw.clip_size, signer_box(instance, match, raw))
    made_from = origin(spec, source, float(instance.start_s), end_s, part)
    return FramesRequest(frames_path(frames_dir, spec, instance.video_id), spec, made_from)
