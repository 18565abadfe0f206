"""The page in a real browser: it opens without errors, can be sorted and filtered, and is legible."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from in_browser import assert_it_fits_its_width, assert_text_is_legible, click, column, opened_page
from made_run_result import instance, make_run_result, shown_clips_of, write_clips

from asl.contract.manifest import SPLITS
from asl.page.render import write_page
from asl.preprocess.report.html.page import build_page

HOSTILE = "</script><img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a run of 120 instances of 12 glosses, with defects of every kind."""
    folder = tmp_path_factory.mktemp("report")
    glosses = [f"gloss {i}" for i in range(11)] + [HOSTILE.replace("/", "\u2215")]
    instances = [
        instance(
            f"{i:05}",
            glosses[i % 12],
            SPLITS[i // 12 % 3],
            signer_id=str(i % 7),
            url={0: "javascript:document.title='broken'", 1: "ftp://x.example/"}.get(
                i, f"https://x.example/{i}"
            ),
            site=HOSTILE if i % 5 == 0 else "signs with a name that does not end soon " * (i % 9 == 0),
        )
        for i in range(120)
    ]
    pairs = [("same content", f"{i:05}", f"{i + 13:05}") for i in range(40, 52)]
    result = make_run_result(
        folder,
        instances,
        missing=[f"{i:05}" for i in range(40)],
        doubts={"00060": HOSTILE, "00061": "is " + "long" * 60},
        bitstream={
            "00070": "picture 12, slice 0, macroblock 300, bit 4182: the slice goes on after its data end",
            "00083": HOSTILE,
        },
        left_to_cpu={"codec vp9": 12, "bitstream": 2, HOSTILE: 1},
        pairs=[("same segment", "00001", "00014"), *pairs],
        seconds_of={f"{i:05}": 1 + i / 40 for i in range(120)},
        stale=[HOSTILE],
    )
    write_clips(result)
    path = folder / "metadata" / "report.html"
    write_page(path, build_page(result, shown_clips_of(result), path.parent))
    return path


@pytest.fixture
def open_report(browser, report):
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(opened_page(browser, report, **options))


def test_it_opens_without_errors_and_loads_no_other_files(open_report, report):
    opened = open_report()
    page = opened.page
    page.mouse.wheel(0, 100_000)
    page.locator("summary").first.click()
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.locator("img").count() > 80
    assert opened.messages == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.title() == "made: preprocessing report"


def test_markup_in_names_is_shown_as_text(open_report):
    opened = open_report()
    page = opened.page
    page.locator('[data-table="classes"] input').fill("onerror")
    assert column(page, "classes", "Gloss") == [HOSTILE.replace("/", "\u2215")]
    assert page.locator('[src="x"]').count() == 0
    assert page.title() == "made: preprocessing report"
    assert opened.messages == []


def test_only_web_addresses_become_links(open_report):
    page = open_report().page
    links = [link.get_attribute("href") for link in page.locator('[data-table="missing"] td a').all()]
    assert len(links) == 13  # of the 15 rows of a page
    assert all(link.startswith("https://x.example/") for link in links)
    assert column(page, "missing", "URL")[:2] == ["javascript:document.title='broken'", "ftp://x.example/"]


def test_a_click_sorts_numbers_and_another_click_reverses_the_order(open_report):
    page = open_report().page
    assert click(page, "signers", "train") == "descending"
    falling = [int(cell) for cell in column(page, "signers", "train")]
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) > 1
    assert click(page, "signers", "train") == "ascending"
    assert [int(cell) for cell in column(page, "signers", "train")] == sorted(falling)


def test_a_click_sorts_words_and_another_click_reverses_the_order(open_report):
    page = open_report().page
    assert click(page, "classes", "Gloss") == "ascending"
    rising = column(page, "classes", "Gloss")
    assert rising == [HOSTILE.replace("/", "\u2215"), *(f"gloss {i}" for i in range(11))]  # 10 after 9
    assert click(page, "classes", "Gloss") == "descending"
    assert column(page, "classes", "Gloss") == rising[::-1]


def test_sorting_includes_the_rows_of_other_pages(open_report):
    page = open_report().page
    assert column(page, "missing", "Instance")[0] == "00000"
    click(page, "missing", "Instance")
    click(page, "missing", "Instance")
    assert column(page, "missing", "Instance")[0] == "00039"
    page.locator('[data-table="missing"]').get_by_role("button", name="Next").click()
    assert column(page, "missing", "Instance")[0] == "00024"


def test_the_filter_keeps_the_rows_with_all_its_words_and_clearing_it_restores_all_rows(open_report):
    page = open_report().page
    container = page.locator('[data-table="missing"]')
    before = column(page, "missing", "Instance")
    container.get_by_label("Filter").fill("GLOSS 10 val")
    assert column(page, "missing", "Instance") == ["00022"]
    assert container.locator(".count").inner_text() == "1 of 40 rows"
    container.get_by_label("Filter").fill("nothing has this")
    assert "No row" in container.locator("tbody").inner_text()
    container.get_by_label("Filter").fill("")
    assert column(page, "missing", "Instance") == before
    assert container.locator(".count").inner_text() == "40 rows"


def test_a_menu_filters_by_one_value(open_report):
    page = open_report().page
    container = page.locator('[data-table="missing"]')
    container.get_by_label("Split").select_option("test")
    assert set(column(page, "missing", "Split")) == {"test"}
    container.get_by_label("Split").select_option("all")
    assert len(set(column(page, "missing", "Split"))) > 1


def test_the_contact_sheet_can_be_filtered(open_report):
    page = open_report().page
    clips = page.locator(".sheet .clip")
    assert clips.count() == 60
    tools = page.locator("#sheet-tools")
    tools.get_by_label("Gloss").select_option("gloss 3")
    tools.get_by_label("Split").select_option("val")
    shown = [clip.get_attribute("data-gloss") for clip in clips.all() if clip.is_visible()]
    assert 0 < len(shown) < 5
    assert set(shown) == {"gloss 3"}
    assert tools.locator(".count").inner_text() == f"{len(shown)} of 60 clips"


def test_charts_describe_the_bar_that_pointer_or_keyboard_selects(open_report):
    page = open_report().page
    chart = page.locator('[data-chart="classes"]')
    bars, readout = chart.locator("svg"), chart.locator(".readout")
    bars.hover(position={"x": 3, "y": 50})
    first = readout.inner_text()
    assert "clips (" in first
    bars.focus()
    bars.press("ArrowRight")
    assert readout.inner_text() not in ("", first)
    assert bars.get_attribute("aria-valuetext") == readout.inner_text()
    bars.press("End")
    assert bars.get_attribute("aria-valuenow") == "12"


def test_what_the_gpus_parser_found_is_a_table(open_report):
    page = open_report().page
    page.get_by_role("link", name="Bitstream").click()
    assert page.locator("#bitstream h2").inner_text() == "Bitstream"
    assert column(page, "bitstream", "Clip") == ["00070", "00083"]
    assert column(page, "bitstream", "Source") == ["00070.mp4", "00083.mp4"]
    assert "macroblock 300" in column(page, "bitstream", "Found")[0]
    assert column(page, "bitstream", "Found")[1] == HOSTILE
    assert column(page, "left_to_cpu", "Clips") == ["12", "2", "1"]


@pytest.mark.parametrize("width", [320, 375, 768])
def test_on_narrow_screens_only_tables_scroll_sideways(open_report, width):
    page = open_report(width=width).page
    for summary in page.locator("summary").all():
        summary.click()
    assert_it_fits_its_width(page)
    wide = page.locator('[data-table="missing"] .scroll')
    assert (width > 700) or wide.evaluate("(box) => box.scrollWidth > box.clientWidth")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_all_text_has_enough_contrast_in_light_and_dark_mode(open_report, colours):
    assert_text_is_legible(open_report(colours=colours).page, colours)
