"""Write all files in which a run is reported, and the manifest."""

from __future__ import annotations

import json
from pathlib import Path

from asl.contract.manifest import write_manifest
from asl.contract.paths import Paths
from asl.files import atomic_write_text
from asl.preprocess.audit.missing_clips import write_missing_clips
from asl.preprocess.report.html.page import write_page
from asl.preprocess.report.html.thumbnails import ShownClips
from asl.preprocess.report.summary import summarize
from asl.preprocess.run_result import RunResult


def write_files(result: RunResult, paths: Paths, shown: ShownClips) -> dict[str, Path]:
    """Write every file of the run; returns their paths. The manifest is last: if it is new, all are."""
    manifest = paths.manifest(result.config.dataset.name)
    write_missing_clips(paths.errors, result.missing)
    atomic_write_text(paths.audit, json.dumps(result.audit.as_dict(), indent=1, ensure_ascii=False))
    atomic_write_text(paths.summary, json.dumps(summarize(result), indent=1, ensure_ascii=False))
    write_page(paths.report, result, shown)
    write_manifest(manifest, result.clips)
    return {
        "errors": paths.errors,
        "audit": paths.audit,
        "summary": paths.summary,
        "report": paths.report,
        "manifest": manifest,
    }
