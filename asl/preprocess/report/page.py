"""Fill the page: what a run found out, as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import av
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asl import __version__
from asl.contract.manifest import FLAGS, SPLITS
from asl.files import atomic_write_text
from asl.preprocess.report.charts import HEIGHT, class_chart, duration_chart
from asl.preprocess.report.contents import tables
from asl.preprocess.report.pictures import Pictures, Strip
from asl.preprocess.report.tables import as_script_data
from asl.preprocess.report.troubles import STAGE_WORDS
from asl.preprocess.run_result import RunResult
from asl.preprocess.sources.matching import Match

#: Pairs and suspects with pictures that are seen at once; the others are a click away.
OPEN_PAIRS = 6

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Side:
    """A clip as the page shows it: its picture or why there is none, and what it is."""

    video_id: str
    gloss: str
    split: str
    signer: str
    strip: Strip | None
    no_picture: str  # why not
    href: str  # the clip, relative to the page; empty: there is none
    facts: str


def write_report(path: Path, findings: RunResult, pictures: Pictures) -> None:
    """Write ``report.html`` whole or not at all."""
    page = build_page(findings, pictures, path.parent)
    # A file name need not be text; what UTF-8 cannot hold is shown as "?".
    atomic_write_text(path, page.encode("utf-8", "replace").decode("utf-8"))


def build_page(findings: RunResult, pictures: Pictures, folder: Path) -> str:
    """The page's HTML.

    Args:
        findings: all that it tells.
        pictures: all that it shows.
        folder: where it will lie; links to clips start there.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("script.js", "style.css"))
    sides = _Sides(findings, pictures, folder)
    contents = tables(findings)
    charts = {"classes": class_chart(findings.clips, findings.metadata.glosses)}
    charts["durations"] = duration_chart(findings.clips)
    data = {
        "tables": {name: table.packed() for name, table in contents.items()},
        "charts": {name: chart.labels for name, chart in charts.items() if chart},
    }
    return environment.get_template("page.html").render(
        findings=findings,
        config=findings.config,
        audit=findings.audit,
        pairs=findings.audit.pairs,
        leakage=[pair for pair in findings.audit.pairs if pair.is_leakage],
        conflicts=[pair for pair in findings.audit.pairs if pair.is_conflict],
        clips=findings.clips,
        instances=findings.metadata.instances,
        failed=sum(problem.stage in ("metadata", "cut") for problem in findings.problems),
        encoded=sum(not proof.copied for proof in findings.outcome.proofs.values()),
        unopened=len(findings.raw_files) - len(findings.raw_videos),
        minutes=sum(clip.duration_s for clip in findings.clips) / 60,
        tables=contents,
        charts=charts,
        chart_height=HEIGHT,
        splits=SPLITS,
        open_pairs=OPEN_PAIRS,
        flag_words=FLAGS,
        sample=[sides.of(clip.video_id) for clip in pictures.sample],
        shown_pairs=[
            (pair, pair.flags, sides.of(pair.first), sides.of(pair.second)) for pair in pictures.pairs
        ],
        shown_suspects=[
            (sides.of(clip.video_id), sides.doubt(clip.video_id), sides.of(other.video_id) if other else None)
            for clip, other in pictures.suspects
        ],
        versions=f"asl {__version__}, PyAV {av.__version__}, Python {platform.python_version()}",
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=as_script_data(data),
    )


class _Sides:
    """Looks up what is to be said of a clip."""

    def __init__(self, findings: RunResult, pictures: Pictures, folder: Path) -> None:
        self.findings, self.pictures, self.folder = findings, pictures, folder
        self.instance_of = {one.video_id: one for one in findings.metadata.instances}
        self.clip_of = {clip.video_id: clip for clip in findings.clips}
        self.problem_of = {problem.video_id: problem for problem in findings.problems}

    def of(self, video_id: str) -> Side:
        instance, clip = self.instance_of[video_id], self.clip_of.get(video_id)
        strip = self.pictures.strips.get(video_id, "")
        facts = [instance.site] if instance.site else []
        if clip is not None:
            facts = [
                f"{clip.duration_s:.2f} s",
                f"{clip.num_frames} frames",
                f"{clip.width}×{clip.height}",
                *facts,
            ]
        return Side(
            video_id=video_id,
            gloss=instance.gloss,
            split=instance.split,
            signer=f"signer {instance.signer_id}" if instance.signer_id >= 0 else "signer unknown",
            strip=strip if isinstance(strip, Strip) else None,
            no_picture=self._why_none(video_id, strip if isinstance(strip, str) else ""),
            href=self._href(video_id),
            facts=" · ".join(facts),
        )

    def doubt(self, video_id: str) -> str:
        match = self.findings.matches[video_id]
        return f"{match.source} {match.objection}" if isinstance(match, Match) else ""

    def _why_none(self, video_id: str, failure: str) -> str:
        if video_id in self.pictures.files:
            return f"no picture: {failure}" if failure else "no picture"
        problem = self.problem_of.get(video_id)
        return f"no clip: {problem.reason} ({STAGE_WORDS[problem.stage]})" if problem else "no clip"

    def _href(self, video_id: str) -> str:
        path = self.pictures.files.get(video_id)
        if path is None:
            return ""
        return quote(
            Path(os.path.relpath(path.resolve(), self.folder.resolve()))
            .as_posix()
            .encode("utf-8", "surrogateescape")
        )
