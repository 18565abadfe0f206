"""Write all files in which a run is reported, and the manifest."""

from __future__ import annotations

import json
from pathlib import Path

from asl.contract.manifest import write_manifest
from asl.contract.paths import Paths
from asl.files import atomic_write_text
from asl.page.render import write_page
from asl.preprocess.audit.missing_clips import write_missing_clips
from asl.preprocess.report.html.page import build_page
from asl.preprocess.report.html.thumbnails import ShownClips
from asl.preprocess.report.summary import summarize
from asl.preprocess.run_result import RunResult


def write_files(result: RunResult, paths: Paths, shown: ShownClips) -> dict[str, Path]:
    """Write every file of the run; returns their paths. The manifest is last: if it is new, all are."""
    name = result.config.dataset.name
    written = {
        "errors": paths.errors(name),
        "audit": paths.audit(name),
        "summary": paths.summary(name),
        "report": paths.report(name),
        "manifest": paths.manifest(name),
    }
    write_missing_clips(written["errors"], result.missing)
    atomic_write_text(written["audit"], json.dumps(result.audit.as_dict(), indent=1, ensure_ascii=False))
    atomic_write_text(written["summary"], json.dumps(summarize(result), indent=1, ensure_ascii=False))
    write_page(written["report"], build_page(result, shown, written["report"].parent))
    write_manifest(written["manifest"], result.clips)
    return written
