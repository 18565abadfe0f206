"""What the run says about clips that it opened with decord, or could not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from clips import make_clip, write_clip

from asl.contract.manifest import Clip
from asl.preprocess.clips import decord_probe
from asl.preprocess.clips.decord_probe import DecordProbe, ProbeResult
from asl.workers import Workers


def probe(data_dir: Path, clips: list[Clip], *, count: int = 3) -> list[ProbeResult]:
    with Workers(1) as workers:
        started = DecordProbe(clips, data_dir=data_dir, count=count, seed=0, workers=workers, timeout_s=60)
        return list(started.results())


def test_each_clip_is_compared_with_the_manifest(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    good, longer, damaged = (make_clip("train", 0, number) for number in range(3))
    for clip in (good, longer):
        write_clip(tmp_path / clip.path, grey=range(clip.num_frames))
    (tmp_path / damaged.path).write_bytes(b"no video")
    longer = dataclasses.replace(longer, num_frames=13)
    results = {result.message: result.agrees for result in probe(tmp_path, [good, longer, damaged])}
    reads = "12 frames, 64x48"
    assert results.pop(f"decord reads {good.path}: {reads}, as the manifest says") is True
    assert results.pop(f"decord reads {longer.path}: {reads}, but the manifest says (13, 48, 64)") is False
    ((message, agrees),) = results.items()
    assert message.startswith(f"decord cannot read {damaged.path}: ")
    assert not agrees


def test_a_missing_decord_is_one_line_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decord_probe, "_is_installed", lambda: False)
    clips = [make_clip("train", 0, number) for number in range(3)]
    (result,) = probe(tmp_path, clips)
    assert result.agrees
    assert "decord, which is not installed" in result.message
    assert probe(tmp_path, clips, count=0) == []
