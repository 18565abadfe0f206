"""The first steps of a run of preprocessing: from the configuration to the cuts of the whole data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from asl.codecs.encoder import Encoder
from asl.contract.label_map import read_or_write_label_map
from asl.datasets.instance import Metadata
from asl.preprocess.clips.backend import Choice
from asl.preprocess.clips.plan import Cut, plan_cuts
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.gpu.backend import Backend
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.gpu.choice import encoder_for
from asl.preprocess.sources.find import Sources, find_sources
from asl.preprocess.sources.raw_files import RawVideoCache
from asl.terminal import count_progress, print_text
from asl.workers import Workers


@dataclass(frozen=True)
class RunPlan:
    """What a run is to do."""

    metadata: Metadata  # with the splits that are used
    label_of: Mapping[str, int]
    sources: Sources
    choice: Choice  # how clips are cut
    capabilities: Capabilities | None  # of this machine; None if not checked
    encoder: Encoder  # of all cuts
    cuts: Sequence[Cut]  # of the whole data set, also if this run is a shard


def plan_run(
    config: PreprocessConfig,
    cache: RawVideoCache,
    backend: Backend,
    workers: Workers,
    console: Console,
    *,
    shard: tuple[int, int] = (0, 1),
) -> RunPlan:
    """Read the metadata, match the sources and plan the cuts.

    Args:
        config: all settings.
        cache: of what raw files are.
        backend: cuts.
        workers: open raw files.
        console: for messages.
        shard: see :meth:`RawVideoCache.probe`.
    """
    paths, raw_dir = config.paths, Path(config.dataset.root)
    metadata = config.dataset.load_with_splits()
    label_of = read_or_write_label_map(paths.label_map(config.dataset.name), metadata.glosses)
    for note in filter(None, [*metadata.notes, metadata.made_splits]):
        print_text(console, note)
    if not metadata.published_frames and not all(one.path for one in metadata.instances):
        print_text(
            console,
            "no lengths of the source files were published with this data set, or none are given (WLASL: "
            "dataset.lengths): a raw file whose name several videos share is given to none of them",
        )
    with count_progress(console) as progress:
        sources = find_sources(
            metadata,
            raw_dir,
            paths,
            config.matching,
            workers,
            progress,
            cache=cache,
            shard=shard,
            timeout_s=config.trim.timeout_s,
        )
    choice, capabilities = backend.decide()
    if not config.merge:
        print_text(console, f"trim: {choice}")
    encoder = encoder_for(choice.name, config.trim, capabilities)
    cuts = plan_cuts(
        metadata.instances,
        sources.matches,
        sources.raw_videos,
        raw_dir=raw_dir,
        folders=metadata.folders,
        paths=paths,
        encoder=encoder,
        audio=config.trim.audio,
        frames=config.frames if config.frames.enabled else None,
        fps=metadata.fps,
        end_tolerance_s=config.matching.end_tolerance_s,
    )
    return RunPlan(metadata, label_of, sources, choice, capabilities, encoder, cuts)
