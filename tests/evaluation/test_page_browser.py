"""``evaluation.html`` in a real browser: no errors, no requests, legible, and its matrix and films work."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest
from in_browser import assert_it_fits_its_width, assert_text_is_legible, click, column, opened_page
from made_evaluation import make_page

from asl.page.render import write_page

HOSTILE = "</script><img src=x onerror=document.title='broken'>\"'"
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of 90 clips of 12 glosses, most of them wrong, one with a hostile name."""
    folder = tmp_path_factory.mktemp("evaluation")
    names = {"gloss 1": HOSTILE, "gloss 2": "endless" * 40, "gloss 3": RIGHT_TO_LEFT}
    path = folder / "evaluation" / "evaluation.html"
    write_page(path, make_page(folder, clips=90, skill=0.5, names=names))
    return path


@pytest.fixture
def open_it(browser, file):
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(opened_page(browser, file, **options))


def seen(page) -> list[float]:
    """Left, top, width and height of what the confusion matrix shows, in cells."""
    return [float(number) for number in page.locator("#matrix svg").get_attribute("viewBox").split()]


def test_it_opens_without_errors_and_loads_no_other_files(open_it, file):
    opened = open_it()
    page = opened.page
    page.mouse.wheel(0, 100_000)
    page.locator("summary").first.click()
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.locator("img").count() == 24
    assert opened.messages == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [file.as_uri()]
    assert page.title() == "made, test: evaluation"
    assert page.locator('[src="x"]').count() == 0


def test_tables_can_be_sorted_and_filtered(open_it):
    page = open_it().page
    assert click(page, "classes", "Recall") == "descending"
    falling = [float(cell.removesuffix(" %")) for cell in column(page, "classes", "Recall")]
    assert falling == sorted(falling, reverse=True)
    page.locator('[data-table="mistakes"]').get_by_label("Filter").fill("onerror")
    shown = zip(column(page, "mistakes", "Gloss"), column(page, "mistakes", "Taken for"), strict=True)
    assert all(HOSTILE in pair for pair in shown)
    page.locator('[data-table="mistakes"]').get_by_label("Filter").fill("")
    page.locator('[data-table="mistakes"]').get_by_label("Signer").select_option("signer 2")
    assert set(column(page, "mistakes", "Signer")) == {"signer 2"}


def test_charts_describe_the_epoch_or_gloss_that_is_selected(open_it):
    page = open_it().page
    losses = page.locator('[data-chart="losses"]')
    losses.locator("svg").focus()
    losses.locator("svg").press("End")
    assert losses.locator(".readout").inner_text() == "epoch 4: train_loss 0.5, val_loss 0.625"
    classes = page.locator('[data-chart="classes"]')
    classes.locator("svg").hover(position={"x": 3, "y": 50})
    assert re.search(r": \d+ of \d+, [\d.]+ % \(95 %: ", classes.locator(".readout").inner_text())


def test_the_confusion_matrix_names_the_pair_under_the_pointer(open_it):
    page = open_it().page
    box = page.locator("#matrix svg")
    readout = page.locator("#matrix .readout")
    side = box.bounding_box()["width"] / 12
    box.hover(position={"x": 0.5 * side, "y": 0.5 * side})
    assert re.fullmatch(r".* right: \d+ of \d+ clips \([\d.]+ %\)", readout.inner_text())
    box.hover(position={"x": 1.5 * side, "y": 0.5 * side})
    assert re.fullmatch(r".* taken for .*: \d+ of \d+ clips \([\d.]+ %\)", readout.inner_text())
    names = page.locator("#matrix .rows span").all_inner_texts()
    assert names == sorted(names, key=str.casefold)
    assert len(names) == 12


def test_the_confusion_matrix_can_be_zoomed_and_moved(open_it):
    page = open_it().page
    box = page.locator("#matrix svg")
    tools = page.locator("#matrix .tools")
    assert seen(page) == [0, 0, 12, 12]
    tools.get_by_role("button", name="Zoom in").click()
    assert seen(page) == [3, 3, 6, 6]
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    page.mouse.move(at["x"] + 200, at["y"] + 200)
    page.mouse.down()
    page.mouse.move(at["x"] + 200 - at["width"] / 6, at["y"] + 200)
    page.mouse.up()
    assert seen(page) == pytest.approx([4, 3, 6, 6], abs=0.05)
    page.keyboard.down("Control")
    page.mouse.wheel(0, 2000)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('#matrix svg').getAttribute('viewBox') === '0 0 12 12'")
    tools.get_by_label("Gloss").select_option(RIGHT_TO_LEFT)
    assert RIGHT_TO_LEFT in page.locator("#matrix .readout").inner_text()


def test_the_confusion_matrix_can_be_used_with_the_keyboard(open_it):
    page = open_it().page
    box = page.locator("#matrix svg")
    box.focus()
    box.press("ArrowDown")
    box.press("ArrowRight")
    assert " right: " in page.locator("#matrix .readout").inner_text()
    box.press("+")
    assert seen(page)[2] == 6
    for _ in range(9):
        box.press("ArrowRight")
    assert seen(page)[0] == 5  # the selected column, 10, is the last one in view
    box.press("0")
    assert seen(page) == [0, 0, 12, 12]


def test_a_clip_that_went_wrong_is_played_in_place(open_it):
    page = open_it().page
    film = page.locator(".film").first
    position = film.locator(".position")
    assert position.inner_text() == "5 / 8"
    film.locator("button").press("ArrowRight")
    assert position.inner_text() == "6 / 8"
    shown = "document.querySelector('.film img').getBoundingClientRect().left"
    before = page.evaluate(shown)
    film.locator("button").click()
    page.wait_for_function(f"({shown}) !== {before}")
    assert film.locator("button").get_attribute("aria-pressed") == "true"
    film.locator("button").click()
    stopped = position.inner_text()
    page.wait_for_timeout(200)
    assert position.inner_text() == stopped
    own = film.locator(".top .own .name").inner_text()
    assert own == film.locator("strong").inner_text()


@pytest.mark.parametrize("width", [320, 375, 768])
def test_on_narrow_screens_only_tables_scroll_sideways(open_it, width):
    page = open_it(width=width).page
    page.locator("summary").first.click()
    page.locator("#matrix").get_by_role("button", name="Zoom in").click()
    assert_it_fits_its_width(page)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_all_text_has_enough_contrast_in_light_and_dark_mode(open_it, colours):
    assert_text_is_legible(open_it(colours=colours).page, colours)


def test_the_matrix_of_all_of_wlasl_can_be_zoomed_to_named_cells(browser, tmp_path):
    html = make_page(tmp_path, clips=2878, classes=2000, skill=3.5, probes=(), with_films=False)
    write_page(tmp_path / "evaluation.html", html)
    with opened_page(browser, tmp_path / "evaluation.html") as opened:
        page = opened.page
        assert page.locator("#matrix .rows span").count() == 0
        page.locator("#matrix .tools").get_by_label("Gloss").select_option("gloss 1000")
        names = page.locator("#matrix .rows span").all_inner_texts()
        assert "gloss 1000" in names
        assert len(names) < 30
        assert "gloss 1000" in page.locator("#matrix .readout").inner_text()
        assert opened.messages == []
