"""The page's contents, without a browser: what it says, shows, and never lets through."""

import base64
import dataclasses
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from made_findings import instance, make_findings, pictures_of, write_clips
from PIL import Image
from test_pipeline import settings

from asl.contract.manifest import SPLITS
from asl.preprocess.pipeline import preprocess
from asl.preprocess.report.charts import class_chart, duration_chart
from asl.preprocess.report.contents import tables
from asl.preprocess.report.page import build_page, write_report
from asl.preprocess.report.pictures import (
    SIDE,
    Pictures,
    Shot,
    contact_sample,
    suspects_beside_others,
    take_strip,
    telling_pairs,
)
from asl.preprocess.report.tables import MOST_CHARACTERS, Column, Table, as_script_data

NO_PICTURES = Pictures(sample=(), pairs=(), suspects=(), files={}, strips={})

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"


class Page(HTMLParser):
    """The elements of a page, its text, and the data of its tables."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.pieces, self.inside, self.script = [], [], "", {}
        self.feed(html)
        self.text = " ".join(" ".join(self.pieces).split())
        self.data = json.loads(self.script["data"])

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.key = dict(attributes).get("id", "code")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.script[self.key] = self.script.get(self.key, "") + data
        elif not self.inside:
            self.pieces.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(findings, pictures=NO_PICTURES):
    return Page(build_page(findings, pictures, Path(findings.config.paths.metadata_dir)))


def rows(findings, name):
    return [list(row) for row in tables(findings)[name].rows]


def trio(gloss, start, **more):
    """One instance of a gloss in each split."""
    return [instance(f"{start + i:05}", gloss, split, **more) for i, split in enumerate(SPLITS)]


# ---------------------------------------------------------------- what it says


def test_coverage_counts_instances_and_clips_by_split_class_and_site(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11, site="other")]
    findings = make_findings(tmp_path, instances, missing=["00001", "00012"])
    assert [row[:5] for row in rows(findings, "splits")] == [
        ["train", 1, 2, 1, 1],
        ["val", 1, 2, 1, 1],
        ["test", 2, 2, 2, 0],
    ]
    assert rows(findings, "classes") == [
        ["book", 3, 2, 1, 2 / 3, 0, 1, 1],
        ["drink", 3, 2, 1, 2 / 3, 1, 0, 1],
    ]
    assert rows(findings, "sites") == [["other", 3, 2, 1, 2 / 3], ["signs", 3, 2, 1, 2 / 3]]


def test_every_instance_without_a_clip_is_listed_with_its_reason(tmp_path):
    findings = make_findings(tmp_path, trio("book", 1), missing=["00002"], dropped={"00001": "is a copy"})
    assert rows(findings, "problems") == [
        [
            "00002",
            "book",
            "val",
            "no file",
            "download its URL as 00002.mp4",
            "https://signs.example/00002.mp4",
        ],
        ["00001", "book", "train", "leakage", "is a copy", "https://signs.example/00001.mp4"],
    ]
    assert rows(findings, "reasons") == [["leakage", "taken out", 1], ["no file", "no source", 1]]


def test_small_classes_name_the_splits_in_which_they_have_no_clip(tmp_path):
    many = [instance(f"9{i:04}", "drink", split) for i, split in enumerate(["train"] * 5 + ["val", "test"])]
    findings = make_findings(tmp_path, [*trio("book", 1), *many], missing=["00003"])
    assert rows(findings, "small") == [["book", 1, 1, 0, "test"]]


def test_settings_are_told_with_what_they_mean(tmp_path):
    told = {row[0]: row[1:] for row in rows(make_findings(tmp_path, trio("book", 1)), "settings")}
    assert told["trim.workers"][0] == "1"
    assert told["overwrite"][0] == "false"
    assert told["dataset.num_glosses"][0] == "null"
    assert "libx264" in told["trim.crf"][1]


def test_the_usual_rules_errors_are_told_in_words(tmp_path):
    text = page_of(make_findings(tmp_path, trio("book", 1))).text
    assert "would have given 40 instances a file" in text
    assert "at least 11 would have got somebody else's" in text


def test_a_run_without_any_clip_has_a_page_too(tmp_path):
    page = page_of(make_findings(tmp_path, trio("book", 1), missing=["00001", "00002", "00003"]))
    assert "There is no clip to show" in page.text
    assert page.data["charts"] == {}


def test_classes_are_drawn_by_their_number_of_clips(tmp_path):
    findings = make_findings(tmp_path, [*trio("book", 1), instance("00009", "drink")], missing=["00003"])
    chart = class_chart(findings.clips, findings.metadata.glosses)
    assert chart.labels == (
        "book: 2 clips (1 train, 1 val, 0 test)",
        "drink: 1 clips (1 train, 0 val, 0 test)",
    )
    assert chart.ticks == (0, 1, 2)
    assert chart.paths["test"] == ""
    assert chart.paths["train"].count("M") == 2


@pytest.mark.parametrize("longest", [0.9, 7.0, 100.0, 1e6])
def test_every_clip_is_in_one_bin_of_durations(tmp_path, longest):
    instances = [instance(f"{i:05}") for i in range(30)]
    spans = {one.video_id: longest * (i + 1) / 30 for i, one in enumerate(instances)}
    chart = duration_chart(make_findings(tmp_path, instances, seconds_of=spans).clips)
    assert sum(int(label.split(": ")[1].split()[0]) for label in chart.labels) == 30
    assert chart.bars <= 40


# ---------------------------------------------------------------- what it shows


def test_the_sample_is_spread_over_splits_and_glosses_whatever_the_order_of_the_clips(tmp_path):
    instances = [
        instance(f"{gloss}{split}{i:02}", gloss, split)
        for gloss in ("book", "drink", "go", "help")
        for split, times in (("train", 20), ("val", 4), ("test", 4))
        for i in range(times)
    ]
    clips = make_findings(tmp_path, instances).clips
    sample = contact_sample(clips, 24, seed=3)
    assert sorted(clip.split for clip in sample) == ["test"] * 8 + ["train"] * 8 + ["val"] * 8
    assert {sum(clip.gloss == gloss for clip in sample) for gloss in ("book", "drink", "go", "help")} == {6}
    assert contact_sample(clips[::-1], 24, seed=3) == sample
    assert contact_sample(clips, 24, seed=4) != sample
    assert len(contact_sample(clips, 1000, seed=3)) == len(clips)


def test_a_strip_holds_the_first_the_middle_and_the_last_frame(tmp_path):
    findings = make_findings(tmp_path, [instance("00001")])
    write_clips(findings, grey=[30, 0, 0, 0, 120, 0, 0, 0, 210])
    jpeg = take_strip(Shot("00001", tmp_path / findings.clips[0].path, 9))
    picture = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert picture.shape == (120, 3 * SIDE + 4, 3)
    middles = [picture[60, SIDE // 2 + i * (SIDE + 2), 0] for i in range(3)]
    assert middles == pytest.approx([30, 120, 210], abs=6)


def test_pictures_that_were_taken_before_are_not_taken_again(tmp_path):
    findings = make_findings(tmp_path, trio("book", 1))
    write_clips(findings)
    first = pictures_of(findings)
    for clip in findings.clips:
        (tmp_path / clip.path).unlink()
    assert pictures_of(findings).strips == first.strips
    assert all(strip.uri.startswith("data:image/jpeg") for strip in first.strips.values())


def test_a_picture_that_cannot_be_made_is_missing_and_nothing_else(tmp_path):
    findings = make_findings(tmp_path, trio("book", 1))
    write_clips(findings)
    broken, gone, _ = (tmp_path / clip.path for clip in findings.clips)
    broken.write_bytes(b"no video")
    gone.unlink()
    pictures = pictures_of(findings)
    page = page_of(findings, pictures)
    assert len(page.all("img")) == 1
    assert page.text.count("no picture:") == 2


def test_pairs_show_both_sides_or_say_why_one_cannot_be_seen(tmp_path):
    findings = make_findings(
        tmp_path,
        trio("book", 1),
        missing=["00003"],
        pairs=[("same segment", "00001", "00003"), ("same content", "00001", "00002")],
    )
    write_clips(findings)
    pictures = dataclasses.replace(pictures_of(findings), sample=())
    page = page_of(findings, pictures)
    assert [img["alt"].split()[-2] for img in page.all("img")] == ["00001,", "00002,", "00001,"]
    assert "no clip: no file (no source)" in page.text


def test_what_does_most_harm_is_shown_first(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11)]
    pairs = [
        ("same segment", "00001", "00011"),  # conflict
        ("same segment", "00001", "00002"),  # leakage
        ("same segment", "00001", "00012"),  # both
        ("same segment", "00001", "00013"),  # both, but one side has no clip
    ]
    findings = make_findings(tmp_path, instances, missing=["00013"], pairs=pairs)
    order = telling_pairs(findings.audit.pairs, findings.outcome.proofs.keys())
    assert [pair.second for pair in order] == ["00012", "00002", "00011", "00013"]


def test_a_suspect_stands_beside_an_undoubted_clip_of_its_gloss_and_if_it_can_of_its_signer(tmp_path):
    instances = [
        instance("00001", signer_id=7),
        instance("00002", signer_id=1),
        instance("00003", signer_id=7),
        instance("00004", "drink"),
    ]
    doubts = {"00001": "is too long", "00004": "is too short"}
    findings = make_findings(tmp_path, instances, doubts=doubts)
    found = [(one.video_id, other and other.video_id) for one, other in suspects_beside_others(findings)]
    assert found == [("00001", "00003"), ("00004", None)]


def test_what_the_audit_took_out_can_still_be_seen(tmp_path):
    whole = make_findings(tmp_path, trio("book", 1))
    write_clips(whole)
    pairs = [("same content", "00001", "00003")]
    findings = make_findings(tmp_path, trio("book", 1), dropped={"00001": "is a copy"}, pairs=pairs)
    assert set(pictures_of(findings).files) == {"00001", "00002", "00003"}


# ---------------------------------------------------------------- what it lets through


@pytest.fixture
def hostile(tmp_path):
    """Every text of a run that others make, made to break out of the page; and the pictures."""
    bad = HOSTILE.replace("/", "\u2215")  # what a gloss and a video_id may hold
    instances = [
        instance("00001", bad, url="javascript:alert(3)", site=HOSTILE),
        instance(bad, "drink", "test", url=f"https://x.example/{HOSTILE}"),
        instance("00003", bad, "val", url="data:text/html," + HOSTILE),
    ]
    findings = make_findings(
        tmp_path,
        instances,
        missing=["00003"],
        doubts={"00001": HOSTILE},
        pairs=[("same content", "00001", bad), ("same segment", "00001", "00003")],
        stale=[HOSTILE],
        raw_files=["00001.mp4", HOSTILE],
    )
    write_clips(findings)
    return findings, pictures_of(findings)


def test_nothing_that_others_wrote_becomes_markup(hostile):
    page = page_of(*hostile)
    assert len(page.all("script")) == 2
    assert all(img["src"].startswith("data:image/jpeg;base64,") for img in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.data["tables"]["stale"]["cells"][0]


def test_the_page_asks_for_nothing_from_elsewhere(hostile):
    findings, pictures = hostile
    html = build_page(findings, pictures, Path(findings.config.paths.metadata_dir))
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


def test_pictures_lead_to_their_clips_whatever_these_are_called(hostile):
    findings, pictures = hostile
    page = page_of(findings, pictures)
    folder = Path(findings.config.paths.metadata_dir)
    folder.mkdir(exist_ok=True)
    links = {link["href"] for link in page.all("a") if "title" in link}
    assert {(folder / unquote(link)).resolve() for link in links} == {
        (Path(findings.config.paths.data_dir) / clip.path).resolve() for clip in findings.clips
    }


def test_a_file_name_that_is_no_text_does_not_stop_the_page(tmp_path):
    findings = make_findings(tmp_path, trio("book", 1), stale=["\udcff.mp4"])
    write_report(tmp_path / "report.html", findings, NO_PICTURES)
    assert "?.mp4" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_script_data_has_no_markup_and_stays_what_it_was():
    told = {"a": HOSTILE, "b": "<!--\u2028", "c": [1, None, 0.5]}
    assert json.loads(as_script_data(told)) == told
    assert not set("<>&\u2028") & set(as_script_data(told))


def test_a_text_without_end_is_cut_and_control_characters_are_dropped():
    (cell,) = Table(caption="", columns=(Column(name="a"),), rows=[["\x00" + "x" * 9999]]).packed()["cells"][
        0
    ]
    assert len(cell) == MOST_CHARACTERS
    assert cell.startswith(" x")


# ---------------------------------------------------------------- as a whole


def test_the_same_findings_give_the_same_bytes(tmp_path):
    instances = [*trio("book", 1), *trio("drink", 11)]
    made = make_findings(tmp_path, instances, pairs=[("same content", "00001", "00012")])
    write_clips(made)
    folder = tmp_path / "metadata"
    once, again = (build_page(made, pictures_of(made), folder) for _ in range(2))
    assert once == again
    later = dataclasses.replace(made, started="2027-01-01T00:00:00+00:00", seconds={"matching": 9.25})
    differing = [
        (a, b)
        for a, b in zip(
            once.splitlines(), build_page(later, pictures_of(made), folder).splitlines(), strict=True
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
    page = build_page(make_findings(tmp_path, instances, missing=missing), NO_PICTURES, tmp_path)
    assert len(page.encode()) < 3_000_000


def test_a_run_writes_the_page_before_the_manifest_and_names_it(demo_dir, tmp_path, capsys):
    (tmp_path / "raw").symlink_to(demo_dir / "raw")
    shutil.copytree(demo_dir / "metadata", tmp_path / "metadata")
    preprocess(settings(tmp_path))
    told = capsys.readouterr().out
    path, manifest = tmp_path / "metadata" / "report.html", tmp_path / "metadata" / "demo_manifest.csv"
    assert str(path) in told
    assert path.stat().st_mtime_ns <= manifest.stat().st_mtime_ns
    page = Page(path.read_text(encoding="utf-8"))
    assert "no picture" not in page.text
    assert len(page.all("img")) >= 24
    assert (
        "pictures" in json.loads((tmp_path / "metadata" / "preprocess_summary.json").read_text())["seconds"]
    )
