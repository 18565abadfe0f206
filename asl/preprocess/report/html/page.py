"""``{dataset}_report.html``: the result of a run as one HTML file that needs no other files."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from asl import __version__
from asl.contract.manifest import FLAGS
from asl.page.addresses import link_to
from asl.page.render import render_page
from asl.page.table import Table
from asl.preprocess.report.html.histograms import class_histogram, duration_histogram
from asl.preprocess.report.html.list_tables import list_tables
from asl.preprocess.report.html.statistics_tables import STAGE_LABELS, statistics_tables
from asl.preprocess.report.html.thumbnails import ShownClips, Thumbnails
from asl.preprocess.run_result import RunResult

#: Pairs and suspects that are visible at once; the further ones are folded.
UNFOLDED = 6

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class ClipFigure:
    """What the page shows of one clip: its thumbnails, or why there are none, and a caption."""

    video_id: str
    gloss: str
    split: str
    signer: str
    thumbnails: Thumbnails | None
    no_thumbnails: str  # why there are none
    href: str  # the clip's file, relative to the page; empty if there is none
    facts: str


def build_page(result: RunResult, shown: ShownClips, folder: Path) -> str:
    """The page's HTML.

    Args:
        result: the finished run.
        shown: the clips that are shown with thumbnails.
        folder: the page's folder, from which it links to the clips.
    """
    figures, selection = _Figures(result, shown, folder), shown.selection
    pair_counts = result.audit.counts().values()
    return render_page(
        _FOLDER,
        tables=page_tables(result),
        charts={
            "classes": class_histogram(result.statistics.by_class),
            "durations": duration_histogram(result.clips),
        },
        result=result,
        config=result.config,
        audit_file=result.config.paths.audit(result.config.dataset.name).name,
        errors_file=result.config.paths.errors(result.config.dataset.name).name,
        audit=result.audit,
        numbers=result.statistics,
        frames=result.cut_results.frames,
        leakage=sum(count["across_splits"] for count in pair_counts),
        conflicts=sum(count["two_glosses"] for count in pair_counts),
        unfolded=UNFOLDED,
        flag_meanings=FLAGS,
        sheet=[figures.of(clip.video_id) for clip in selection.sheet],
        shown_pairs=[
            (pair, pair.flags, figures.of(pair.first), figures.of(pair.second)) for pair in selection.pairs
        ],
        shown_suspects=[
            (
                figures.of(suspect.video_id),
                result.statistics.suspects[suspect.video_id],
                figures.of(reference.video_id) if reference else None,
            )
            for suspect, reference in selection.suspects
        ],
        versions=f"asl {__version__}, PyAV {version('av')}, Python {platform.python_version()}",
    )


def page_tables(result: RunResult) -> dict[str, Table]:
    """Every table of the page, by the name that the page's template uses."""
    return {**statistics_tables(result.statistics, result.audit), **list_tables(result)}


class _Figures:
    """The figures of the clips that the page shows."""

    def __init__(self, result: RunResult, shown: ShownClips, folder: Path) -> None:
        self._shown, self._folder = shown, folder
        self._instance_of = {instance.video_id: instance for instance in result.metadata.instances}
        self._clip_of = {clip.video_id: clip for clip in result.clips}
        self._missing_of = {missing.video_id: missing for missing in result.missing}

    def of(self, video_id: str) -> ClipFigure:
        """The figure of an instance, with or without a clip."""
        instance, clip = self._instance_of[video_id], self._clip_of.get(video_id)
        thumbnails = self._shown.thumbnails.get(video_id)
        facts = [instance.site] if instance.site else []
        if clip is not None:
            size = f"{clip.width}×{clip.height}"
            facts = [f"{clip.duration_s:.2f} s", f"{clip.num_frames} frames", size, *facts]
        return ClipFigure(
            video_id=video_id,
            gloss=instance.gloss,
            split=instance.split,
            signer=f"signer {instance.signer_id}" if instance.signer_id else "signer unknown",
            thumbnails=thumbnails if isinstance(thumbnails, Thumbnails) else None,
            no_thumbnails=self._no_thumbnails(video_id, thumbnails if isinstance(thumbnails, str) else ""),
            href=self._href(video_id),
            facts=" · ".join(facts),
        )

    def _no_thumbnails(self, video_id: str, error: str) -> str:
        if video_id in self._shown.files:
            return f"no thumbnails: {error}" if error else "no thumbnails"
        missing = self._missing_of.get(video_id)
        return f"no clip: {missing.reason} ({STAGE_LABELS[missing.stage]})" if missing else "no clip"

    def _href(self, video_id: str) -> str:
        path = self._shown.files.get(video_id)
        return "" if path is None else link_to(path, self._folder)
