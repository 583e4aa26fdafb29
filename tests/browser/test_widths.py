"""What makes a page too wide is found and named, also if every element fits."""

import pytest
from playwright.sync_api import Page

from tests.browser.visits import PHONE
from tests.browser.widths import too_wide

PAGE = """<!doctype html><meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { margin: 0 }
  .after::after { content: ""; position: absolute; left: 300px; padding: 1px 50px }
</style>"""
WORD = "Vermögensverwaltungsgesellschaft"


@pytest.mark.parametrize("device", [PHONE], ids=lambda device: device.name)
@pytest.mark.parametrize(
    ("body", "named"),
    [
        (
            f'<dl><dd style="width: 40px; margin-left: 300px">{WORD}</dd></dl>',
            f"“{WORD}” in dl > dd",
        ),
        (
            '<p><b id="b" style="display: block; width: 400px">wide</b></p>',
            "p > b#b from 0 to 400 px",
        ),
        ('<i class="after"></i>', "::after"),
    ],
)
def test_what_is_too_wide_is_named(page: Page, body: str, named: str) -> None:
    page.set_content(PAGE + body)
    [problem] = too_wide(page)
    assert " px wide on a screen of 360: " in problem
    assert named in problem


@pytest.mark.parametrize("device", [PHONE], ids=lambda device: device.name)
@pytest.mark.parametrize("overflow", ["auto", "hidden"])
def test_what_scrolls_by_itself_widens_no_page(page: Page, overflow: str) -> None:
    page.set_content(f'{PAGE}<p style="overflow: {overflow}">{WORD * 3}</p>')
    assert too_wide(page) == []
