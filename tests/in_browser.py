"""Open pages in Chromium or Chrome, and read and click what they show.

``ASL_BROWSER`` names a browser elsewhere. Without one, tests in a browser are skipped, but fail where ``CI``
or ``ASL_NEED_BROWSER`` is set.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def find_browser() -> str | None:
    named = os.environ.get("ASL_BROWSER")
    return named or next((found for found in map(shutil.which, BROWSERS) if found), None)


@contextmanager
def started_browser() -> Iterator[Any]:
    path = find_browser()
    if path is None:
        message = "no Chromium or Chrome: apt-get install chromium, or name one with ASL_BROWSER"
        if os.environ.get("CI") == "true" or os.environ.get("ASL_NEED_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright  # here, so that other tests can be collected without it

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@dataclass
class Opened:
    """The page in a tab, its console messages and errors, and the URLs that it requested."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened_page(
    browser: Any, page: Path | str, *, width: int = 1280, colours: str = "light"
) -> Iterator[Opened]:
    """A page, which is a file or a URL, in a new tab."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=colours)
    opened = Opened(context.new_page())
    opened.page.set_default_timeout(5000)
    opened.page.on("console", lambda message: opened.messages.append(message.text))
    opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.goto(page.as_uri() if isinstance(page, Path) else page)
    yield opened
    context.close()


def assert_it_fits_its_width(page: Any) -> None:
    """Only tables scroll sideways, and only what is inside a drawing or a film is cropped."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "[...document.querySelectorAll('main *')].every((one) => "
        "one.closest('.scroll, svg, .film button') || one.getBoundingClientRect().right <= innerWidth + 1)"
    )


def assert_text_is_legible(page: Any, colours: str) -> None:
    """All text has enough contrast in light or dark mode, and there is much of it."""
    background = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert background < 0.05 if colours == "dark" else background > 0.8
    seen = page.evaluate(COLOURS)
    assert len(seen) > 300
    poor = {(name, text, behind) for name, text, behind in seen if contrast(text, behind) < 4.5}
    assert not poor


def column(page: Any, table: str, heading: str) -> list[str]:
    """The visible cells of a column."""
    container = page.locator(f'[data-table="{table}"]')
    names = container.locator("th").all_inner_texts()
    (index,) = [i for i, name in enumerate(names) if name.strip() == heading]
    return [cell.strip() for cell in container.locator(f"tbody td:nth-child({index + 1})").all_inner_texts()]


def click(page: Any, table: str, heading: str) -> str | None:
    """Sort a table; returns the direction."""
    page.locator(f'[data-table="{table}"] th').get_by_role("button", name=heading, exact=True).click()
    return page.locator(f'[data-table="{table}"] th[aria-sort$="ending"]').get_attribute("aria-sort")


# Of every element that holds text: its colour and the first background behind it that is not transparent.
COLOURS = """
() => {
  const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const backgroundOf = (one) => {
    const own = getComputedStyle(one).backgroundColor;
    return own === 'rgba(0, 0, 0, 0)' && one.parentElement ? backgroundOf(one.parentElement) : own;
  };
  return [...document.querySelectorAll('body *')]
    .filter((one) => hasText(one) && one.checkVisibility())
    .filter((one) => !one.closest('button:disabled, script, noscript'))
    .map((one) => [one.className + ' ' + one.tagName, getComputedStyle(one).color, backgroundOf(one)]);
}
"""


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(channel) / 255 for channel in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
