"""The report of a run: page, JSON and terminal. Tests in a browser are in test_report_browser.py."""

import base64
import dataclasses
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from made_run_result import instance, make_run_result, shown_clips_of, write_clips
from parsed_page import Page
from PIL import Image
from rich.console import Console
from test_pipeline import settings

from asl.contract.manifest import SPLITS
from asl.page.render import as_script_data, write_page
from asl.page.table import MAX_CHARACTERS, Column, Table
from asl.preprocess.pipeline import preprocess
from asl.preprocess.report.html.histograms import class_histogram, duration_histogram
from asl.preprocess.report.html.page import build_page, page_tables
from asl.preprocess.report.html.selection import Selection, by_severity, contact_sheet, with_reference
from asl.preprocess.report.html.thumbnails import SIDE, ClipFile, ShownClips, make_thumbnails
from asl.preprocess.report.summary import summarize
from asl.preprocess.report.terminal import print_summary

NOTHING_SHOWN = ShownClips(selection=Selection(), files={}, thumbnails={})

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


def page_of(result, shown=NOTHING_SHOWN):
    return Page(build_page(result, shown, Path(result.config.paths.metadata_dir)))


def rows(result, name):
    return [list(row) for row in page_tables(result)[name].rows]


def printed_by(result):
    """The terminal's text, in one line."""
    console = Console(record=True, width=200, file=io.StringIO())
    print_summary(result, console)
    return " ".join(console.export_text().split())


def trio(gloss, start, **more):
    """One instance of a gloss in each split."""
    return [instance(f"{start + i:05}", gloss, split, **more) for i, split in enumerate(SPLITS)]


# ---------------------------------------------------------------- numbers and tables


def test_coverage_counts_instances_and_clips_by_split_class_and_site(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11, site="other")]
    result = make_run_result(tmp_path, instances, missing=["00001", "00012"])
    assert [row[:5] for row in rows(result, "splits")] == [
        ["train", 1, 2, 1, 1],
        ["val", 1, 2, 1, 1],
        ["test", 2, 2, 2, 0],
    ]
    assert rows(result, "classes") == [
        ["book", 3, 2, 1, 2 / 3, 0, 1, 1],
        ["drink", 3, 2, 1, 2 / 3, 1, 0, 1],
    ]
    assert rows(result, "sites") == [["other", 3, 2, 1, 2 / 3], ["signs", 3, 2, 1, 2 / 3]]


def test_terminal_json_and_page_show_the_same_numbers(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11), *trio("go", 21, site="other"), instance("00031")]
    seconds_of = {one.video_id: 1.234 * 1.37**i for i, one in enumerate(instances)}
    doubts = {"00003": "is too long"}
    result = make_run_result(
        tmp_path, instances, missing=["00002", "00011"], doubts=doubts, seconds_of=seconds_of
    )
    data, printed, page = summarize(result), printed_by(result), page_of(result)

    kept = sorted(clip.duration_s for clip in result.clips)
    mean, median = sum(kept) / 8, (kept[3] + kept[4]) / 2
    p5, p95 = kept[0] + 0.35 * (kept[1] - kept[0]), kept[6] + 0.65 * (kept[7] - kept[6])
    expected = {"mean": mean, "median": median, "p5": p5, "p95": p95}
    assert data["duration_s"] == pytest.approx(expected, abs=5e-4)
    assert data["duration_s"] == {name: round(value, 3) for name, value in data["duration_s"].items()}
    in_terminal = f"mean {mean:.2f} s, median {median:.2f} s, 5 % below {p5:.2f} s, 5 % above {p95:.2f} s"
    assert in_terminal in printed
    *_, on_page = rows(result, "durations")
    assert on_page[0] == "all"
    assert [on_page[i] for i in (1, 3, 4, 5)] == [
        data["duration_s"][k] for k in ("mean", "p5", "median", "p95")
    ]
    assert [on_page[2], on_page[6]] == pytest.approx([kept[0], kept[-1]], abs=5e-4)

    splits = {row[0]: row[1:4] for row in rows(result, "splits")}
    for split, numbers in data["splits"].items():
        assert splits[split] == [numbers["matched"], numbers["instances"], numbers["clips"]]
        assert f"{split} │ {numbers['instances']} │ {numbers['matched']} │ {numbers['clips']}" in printed
    assert (data["instances"], data["clips"]) == (10, 8)
    assert "all │ 10 │ 8 │ 8" in printed
    assert "8 clips in 1.5 s" in printed
    assert "of 10 instances, 80.0" in page.text

    classes = [row[0:3:2] for row in rows(result, "classes")]
    assert data["most_frequent"] == classes == [["book", 3], ["go", 3], ["drink", 2]]
    assert data["least_frequent"] == classes[::-1]
    assert data["clips_per_class"] == {"min": 2, "median": 3, "max": 3}
    assert "clips per class: min 2, median 3, max 3" in printed

    assert data["missing"] == [{"stage": "match", "reason": "no file", "count": 2}]
    assert rows(result, "reasons") == [["no file", "no source", 2]]
    assert "match │ no file │ 2" in printed
    assert data["matched_by"] == {row[0]: row[1] for row in rows(result, "matching")} == {"video_id": 8}
    assert "video_id │ 8" in printed
    assert data["suspects"] == {row[0]: row[3] for row in rows(result, "suspects")}
    assert "1 of these are suspect" in printed


@pytest.mark.parametrize(("signer", "said"), [("", True), ("7", False)], ids=["unknown", "known"])
def test_test_clips_of_unknown_signers_are_counted(tmp_path, signer, said):
    result = make_run_result(tmp_path, trio("book", 1, signer_id=signer))
    assert ("1 have an unknown signer, who may be in train, too" in printed_by(result)) == said
    assert ("unknown signer" in page_of(result).text) == said


def test_durations_of_an_empty_split_are_unknown(tmp_path):
    result = make_run_result(tmp_path, [instance("00001"), instance("00002", split="val")])
    assert [row[:2] for row in rows(result, "durations")] == [
        ["train", 2.0],
        ["val", 2.0],
        ["test", None],
        ["all", 2.0],
    ]


def test_clips_that_only_the_gpus_parser_refuses_are_shown_with_what_was_found(tmp_path):
    found = {
        "00011": "picture 12, slice 0, macroblock 300, bit 4182: the slice goes on after its data end",
        "00003": "picture 3: nal_ref_idc of a NAL unit of type 6 is not 0",
        "00001": "picture 0: no slice",
    }
    instances = [*trio("book", 1), *trio("drink", 11)]
    result = make_run_result(tmp_path, instances, dropped={"00001": ["00003"]}, bitstream=found)
    assert rows(result, "bitstream") == [
        ["00003", "book", "test", "00003.mp4", found["00003"]],
        ["00011", "drink", "train", "00011.mp4", found["00011"]],
    ]  # not the one that the audit dropped: it is not in the manifest
    keys = ("video_id", "gloss", "split", "source", "found")
    assert summarize(result)["bitstream"] == [
        dict(zip(keys, row, strict=True)) for row in rows(result, "bitstream")
    ]
    printed = printed_by(result)
    assert "2 clips have the flag bitstream" in printed
    assert f"00003: {found['00003']}" in printed
    page = page_of(result)
    assert "2 clips that trim=nvdec left to the host" in page.text
    assert {"href": "#bitstream"} in page.all("a")
    assert "bitstream" in page.data["tables"]


def test_without_such_clips_nothing_is_said_of_bitstreams(tmp_path):
    result = make_run_result(tmp_path, trio("book", 1))
    assert summarize(result)["bitstream"] == []
    assert "bitstream" not in printed_by(result)
    page = page_of(result)
    assert "bitstream" not in page.text.lower()
    assert {"href": "#bitstream"} not in page.all("a")


def test_clips_that_a_gpu_left_to_the_cpu_are_counted_by_reason(tmp_path):
    reasons = {"codec vp9": 2, "has pictures that NVDEC reports as damaged": 1}
    result = make_run_result(tmp_path, trio("book", 1), left_to_cpu=reasons)
    lines = "2: codec vp9 1: has pictures that NVDEC reports as damaged"
    assert f"clips that the GPU left to the CPU: {lines}" in printed_by(result)
    assert rows(result, "left_to_cpu") == [list(item) for item in reasons.items()]
    assert summarize(result)["frames"]["refused_by_gpu"] == reasons
    without = make_run_result(tmp_path, trio("book", 1))
    assert "left to the CPU" not in printed_by(without)
    assert rows(without, "left_to_cpu") == []


def test_every_instance_without_a_clip_is_listed_with_its_reason(tmp_path):
    result = make_run_result(tmp_path, trio("book", 1), missing=["00002"], dropped={"00001": ["00003"]})
    assert rows(result, "missing") == [
        [
            "00002",
            "book",
            "val",
            "no file",
            "download its URL as 00002.mp4",
            "https://signs.example/00002.mp4",
        ],
        [
            "00001",
            "book",
            "train",
            "leakage",
            "is the same video as 00003 of val or test (audit.leakage=drop_train)",
            "https://signs.example/00001.mp4",
        ],
    ]
    assert rows(result, "reasons") == [["leakage", "dropped", 1], ["no file", "no source", 1]]


def test_small_classes_name_the_splits_in_which_they_have_no_clip(tmp_path):
    many = [instance(f"9{i:04}", "drink", split) for i, split in enumerate(["train"] * 5 + ["val", "test"])]
    result = make_run_result(tmp_path, [*trio("book", 1), *many], missing=["00003"])
    assert rows(result, "small_classes") == [["book", 1, 1, 0, "test"]]


def test_settings_are_listed_with_their_meaning(tmp_path):
    settings_of = {row[0]: row[1:] for row in rows(make_run_result(tmp_path, trio("book", 1)), "settings")}
    assert settings_of["trim.workers"][0] == "1"
    assert settings_of["overwrite"][0] == "false"
    assert settings_of["dataset.num_glosses"][0] == "null"
    assert "libx264" in settings_of["trim.crf"][1]


def test_errors_of_matching_by_url_name_are_counted_on_the_page(tmp_path):
    text = page_of(make_run_result(tmp_path, trio("book", 1))).text
    assert "would match 40 instances" in text
    assert "at least 11 matches would be wrong" in text


def test_a_run_without_any_clip_has_a_page_too(tmp_path):
    page = page_of(make_run_result(tmp_path, trio("book", 1), missing=["00001", "00002", "00003"]))
    assert "There is no clip to show" in page.text
    assert page.data["charts"] == {}


def test_classes_are_drawn_in_the_order_of_their_number_of_clips(tmp_path):
    result = make_run_result(tmp_path, [*trio("book", 1), instance("00009", "drink")], missing=["00003"])
    chart = class_histogram(result.statistics.by_class)
    assert chart.labels == (
        "\u2068book\u2069: 2 clips (1 train, 1 val, 0 test)",
        "\u2068drink\u2069: 1 clips (1 train, 0 val, 0 test)",
    )
    assert chart.ticks == ("0", "1", "2")
    paths = {series.name: series.path for series in chart.series}
    assert paths["test"] == ""
    assert paths["train"].count("M") == 2


@pytest.mark.parametrize("longest", [0.9, 7.0, 100.0, 1e6])
def test_every_clip_is_in_one_bin_of_durations(tmp_path, longest):
    instances = [instance(f"{i:05}") for i in range(30)]
    spans = {one.video_id: longest * (i + 1) / 30 for i, one in enumerate(instances)}
    chart = duration_histogram(make_run_result(tmp_path, instances, seconds_of=spans).clips)
    assert sum(int(label.split(": ")[1].split()[0]) for label in chart.labels) == 30
    assert chart.columns <= 40


# ---------------------------------------------------------------- clips that the page shows


def test_the_sample_is_spread_over_splits_and_glosses_whatever_the_order_of_the_clips(tmp_path):
    instances = [
        instance(f"{gloss}{split}{i:02}", gloss, split)
        for gloss in ("book", "drink", "go", "help")
        for split, times in (("train", 20), ("val", 4), ("test", 4))
        for i in range(times)
    ]
    clips = make_run_result(tmp_path, instances).clips
    sample = contact_sheet(clips, 24, seed=3)
    assert sorted(clip.split for clip in sample) == ["test"] * 8 + ["train"] * 8 + ["val"] * 8
    assert {sum(clip.gloss == gloss for clip in sample) for gloss in ("book", "drink", "go", "help")} == {6}
    assert contact_sheet(clips[::-1], 24, seed=3) == sample
    assert contact_sheet(clips, 24, seed=4) != sample
    assert len(contact_sheet(clips, 1000, seed=3)) == len(clips)


def test_thumbnails_hold_the_first_the_middle_and_the_last_frame(tmp_path):
    result = make_run_result(tmp_path, [instance("00001")])
    write_clips(result, grey=[30, 0, 0, 0, 120, 0, 0, 0, 210])
    jpeg = make_thumbnails(ClipFile("00001", tmp_path / result.clips[0].path, 9))
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert picture.shape == (120, 3 * SIDE + 4, 3)
    middles = [picture[60, SIDE // 2 + i * (SIDE + 2), 0] for i in range(3)]
    assert middles == pytest.approx([30, 120, 210], abs=6)


def test_thumbnails_of_an_earlier_run_are_not_made_again(tmp_path):
    result = make_run_result(tmp_path, trio("book", 1))
    write_clips(result)
    first = shown_clips_of(result)
    for clip in result.clips:
        (tmp_path / clip.path).unlink()
    assert shown_clips_of(result).thumbnails == first.thumbnails
    assert all(one.uri.startswith("data:image/jpeg") for one in first.thumbnails.values())


def test_only_thumbnails_that_cannot_be_made_are_missing(tmp_path):
    result = make_run_result(tmp_path, trio("book", 1))
    write_clips(result)
    broken, gone, _ = (tmp_path / clip.path for clip in result.clips)
    broken.write_bytes(b"no video")
    gone.unlink()
    shown = shown_clips_of(result)
    page = page_of(result, shown)
    assert len(page.all("img")) == 1
    assert page.text.count("no thumbnails:") == 2


def test_pairs_show_both_clips_or_say_why_one_is_missing(tmp_path):
    result = make_run_result(
        tmp_path,
        trio("book", 1),
        missing=["00003"],
        pairs=[("same segment", "00001", "00003"), ("same content", "00001", "00002")],
    )
    write_clips(result)
    shown = shown_clips_of(result)
    selection = dataclasses.replace(shown.selection, sheet=())
    shown = dataclasses.replace(shown, selection=selection)
    page = page_of(result, shown)
    assert [img["alt"].split()[-2] for img in page.all("img")] == ["00001,", "00002,", "00001,"]
    assert "no clip: no file (no source)" in page.text


def test_the_most_severe_pairs_are_shown_first(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11)]
    pairs = [
        ("same segment", "00001", "00011"),  # conflict
        ("same segment", "00001", "00002"),  # leakage
        ("same segment", "00001", "00012"),  # both
        ("same segment", "00001", "00013"),  # both, but one side has no clip
    ]
    result = make_run_result(tmp_path, instances, missing=["00013"], pairs=pairs)
    order = by_severity(result.audit.pairs, result.cut_results.proofs.keys())
    assert [pair.second for pair in order] == ["00012", "00002", "00011", "00013"]


def test_a_suspect_is_shown_with_a_reference_clip_of_its_gloss_and_if_possible_of_its_signer(tmp_path):
    instances = [
        instance("00001", signer_id="7"),
        instance("00002", signer_id="1"),
        instance("00003", signer_id="7"),
        instance("00004", "drink"),
    ]
    doubts = {"00001": "is too long", "00004": "is too short"}
    result = make_run_result(tmp_path, instances, doubts=doubts)
    found = [(one.video_id, other and other.video_id) for one, other in with_reference(result.clips, doubts)]
    assert found == [("00001", "00003"), ("00004", None)]


def test_clips_that_the_audit_dropped_are_still_shown(tmp_path):
    whole = make_run_result(tmp_path, trio("book", 1))
    write_clips(whole)
    pairs = [("same content", "00001", "00003")]
    result = make_run_result(tmp_path, trio("book", 1), dropped={"00001": ["00003"]}, pairs=pairs)
    assert set(shown_clips_of(result).files) == {"00001", "00002", "00003"}


# ---------------------------------------------------------------- untrusted text


@pytest.fixture
def hostile(tmp_path):
    """A run in which every untrusted text contains markup, and the clips that its page shows."""
    bad = HOSTILE.replace("/", "\u2215")  # what a gloss and a video_id may hold
    instances = [
        instance("00001", bad, url="javascript:alert(3)", site=HOSTILE),
        instance(bad, "drink", "test", url=f"https://x.example/{HOSTILE}"),
        instance("00003", bad, "val", url="data:text/html," + HOSTILE),
    ]
    result = make_run_result(
        tmp_path,
        instances,
        missing=["00003"],
        doubts={"00001": HOSTILE},
        bitstream={"00001": HOSTILE},
        left_to_cpu={HOSTILE: 1},
        pairs=[("same content", "00001", bad), ("same segment", "00001", "00003")],
        stale=[HOSTILE],
        raw_files=["00001.mp4", HOSTILE],
    )
    write_clips(result)
    return result, shown_clips_of(result)


def test_untrusted_text_never_becomes_markup(hostile):
    page = page_of(*hostile)
    assert len(page.all("script")) == 2
    assert all(img["src"].startswith("data:image/jpeg;base64,") for img in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.data["tables"]["stale"]["cells"][0]


def test_the_page_loads_no_other_files(hostile):
    result, shown = hostile
    html = build_page(result, shown, Path(result.config.paths.metadata_dir))
    for _, attributes in Page(html).elements:
        for name in ("src", "href", "srcset", "poster", "action", "background"):
            target = attributes.get(name) or ""
            assert not re.match(r"(?!data:)\w+:|//", target), (name, target)
    style = html.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_only_the_pages_own_script_may_run(hostile):
    page = page_of(*hostile)
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(page.script["code"].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy


def test_thumbnails_link_to_their_clips_whatever_their_names(hostile):
    result, shown = hostile
    page = page_of(result, shown)
    folder = Path(result.config.paths.metadata_dir)
    folder.mkdir(exist_ok=True)
    links = {link["href"] for link in page.all("a") if "title" in link}
    assert {(folder / unquote(link)).resolve() for link in links} == {
        (Path(result.config.paths.data_dir) / clip.path).resolve() for clip in result.clips
    }


def test_a_file_name_that_is_not_utf_8_does_not_stop_the_page(tmp_path):
    result = make_run_result(tmp_path, trio("book", 1), stale=["\udcff.mp4"])
    write_page(tmp_path / "report.html", build_page(result, NOTHING_SHOWN, tmp_path))
    assert "?.mp4" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_script_data_has_no_markup_and_stays_what_it_was():
    data = {"a": HOSTILE, "b": "<!--\u2028", "c": [1, None, 0.5]}
    assert json.loads(as_script_data(data)) == data
    assert not set("<>&\u2028") & set(as_script_data(data))


def test_long_texts_are_shortened_and_control_characters_are_dropped():
    (cell,) = Table(caption="", columns=(Column(name="a"),), rows=[["\x00" + "x" * 9999]]).packed()["cells"][
        0
    ]
    assert len(cell) == MAX_CHARACTERS
    assert cell.startswith(" x")


# ---------------------------------------------------------------- the whole page


def test_the_same_result_gives_the_same_page(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11)]
    made = make_run_result(tmp_path, instances, pairs=[("same content", "00001", "00012")])
    write_clips(made)
    folder = tmp_path / "metadata"
    once, again = (build_page(made, shown_clips_of(made), folder) for _ in range(2))
    assert once == again
    later = dataclasses.replace(made, started="2027-01-01T00:00:00+00:00", seconds={"matching": 9.25})
    differing = [
        (a, b)
        for a, b in zip(
            once.splitlines(), build_page(later, shown_clips_of(made), folder).splitlines(), strict=True
        )
        if a != b
    ]
    assert 0 < len(differing) <= 3  # the heading, the run, the data of its tables


def test_all_of_wlasl_is_a_page_of_a_few_megabytes(tmp_path):
    instances = [
        instance(
            f"{i:05}",
            f"gloss {i % 2000}",
            SPLITS[i % 10 % 3],
            url=f"https://media.somewhere.example/video/mp4/some-folder/{i % 2000}/{i:011x}.mp4",
        )
        for i in range(21_083)
    ]
    missing = [one.video_id for one in instances[::2]]
    page = build_page(make_run_result(tmp_path, instances, missing=missing), NOTHING_SHOWN, tmp_path)
    assert len(page.encode()) < 3_000_000


def test_a_run_writes_the_page_before_the_manifest_and_names_it(demo_dir, tmp_path, capsys):
    (tmp_path / "raw").symlink_to(demo_dir / "raw")
    shutil.copytree(demo_dir / "metadata", tmp_path / "metadata")
    preprocess(settings(tmp_path))
    printed = capsys.readouterr().out
    path, manifest = tmp_path / "metadata" / "demo_report.html", tmp_path / "metadata" / "demo_manifest.csv"
    assert str(path) in printed
    assert path.stat().st_mtime_ns <= manifest.stat().st_mtime_ns
    page = Page(path.read_text(encoding="utf-8"))
    assert "no thumbnails" not in page.text
    assert len(page.all("img")) >= 24
    assert (
        "pictures"
        in json.loads((tmp_path / "metadata" / "demo_preprocess_summary.json").read_text())["seconds"]
    )
