"""Which shard cuts the clips of which source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from test_cut import make_cut

from asl.errors import UserError
from asl.files import write_new
from asl.preprocess.clips.plan import Cut
from asl.preprocess.shards.shares import cuts_of_shards, shard_of_sources, share_out
from asl.preprocess.sources.raw_files import RawVideo


def test_all_cuts_of_a_source_are_of_one_shard_and_work_is_that_of_its_cuts(tmp_path: Path) -> None:
    def some(name: str, count: int, width: int) -> list[Cut]:
        raw = RawVideo(9.0, width, 480, 25.0)
        return [
            make_cut(
                tmp_path / "raw" / f"{name}.mp4",
                tmp_path / f"{name}{number}.mp4",
                video_id=f"{name}{number}",
                start_s=Fraction(number),
                end_s=Fraction(number + 1),
                raw=raw,
            )
            for number in range(count)
        ]

    cuts = [*some("a", 2, 640), *some("b", 3, 640), *some("sub/c", 1, 6400)]
    shares = cuts_of_shards(reversed(cuts), tmp_path / "shards", 2, raw_dir=tmp_path / "raw")
    assert [[cut.video_id for cut in share] for share in shares] == [
        ["sub/c0"],
        ["b2", "b1", "b0", "a1", "a0"],
    ]
    assert '"sub/c.mp4"' in (tmp_path / "shards" / "sources.0.json").read_text()
    again = cuts_of_shards(cuts[:2], tmp_path / "shards", 2, raw_dir=tmp_path / "raw")
    assert [[cut.video_id for cut in share] for share in again] == [[], ["a0", "a1"]]


def test_shares_have_about_the_same_work() -> None:
    work_ms = {f"{number}.mp4": 100 + 37 * number % 900 for number in range(1000)}
    shares = share_out(work_ms, [0] * 16)
    loads = [sum(work_ms[source] for source in share) for share in shares]
    assert max(loads) - min(loads) < 1000
    assert sorted(source for share in shares for source in share) == sorted(work_ms)


def test_a_source_stays_where_it_is_when_others_come_and_go(tmp_path: Path) -> None:
    before = shard_of_sources(tmp_path, 2, {"a": 8, "b": 4, "c": 3})
    assert before == {"a": 0, "b": 1, "c": 1}
    after = shard_of_sources(tmp_path, 2, {"b": 400, "c": 3, "d": 2, "e": 1})
    assert after == before | {"d": 1, "e": 0}
    assert shard_of_sources(tmp_path, 2, {"d": 5}) == after
    assert shard_of_sources(tmp_path, 2, {"d": 5, "f": 1}) == after | {"f": 0}
    assert len(list(tmp_path.iterdir())) == 3


def test_of_machines_that_share_out_at_the_same_moment_one_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(path: Path, text: str) -> bool:
        monkeypatch.undo()
        shard_of_sources(tmp_path, 2, {"z": 5, "a": 1})  # the other machine, which sees another file
        return bool(write_new(path, text))

    monkeypatch.setattr("asl.preprocess.shards.shares.write_new", slower)
    assert shard_of_sources(tmp_path, 2, {"a": 1, "b": 1}) == {"z": 0, "a": 1, "b": 1}


def test_a_damaged_file_of_sources_is_an_error_that_names_it(tmp_path: Path) -> None:
    for content in ("[", '{"work_ms": [1], "sources": [["a"]]}', "{}"):
        (tmp_path / "sources.0.json").write_text(content)
        with pytest.raises(
            UserError, match=rf"{tmp_path}/sources\.0\.json cannot be read.*Remove {tmp_path}"
        ):
            shard_of_sources(tmp_path, 2, {"a": 1})
