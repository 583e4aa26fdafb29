"""What breaks a rule is found in every row of a table, in both colours."""

from playwright.sync_api import Page

from tests.browser.rules import broken_rules

PALE = """<!doctype html><html lang="en"><title>Rows</title><main><h1>Rows</h1>
<table><tbody>%s</tbody></table></main>"""
ROW = '<tr><td style="color: #ccc; background: #fff">row %s</td></tr>'


def test_contrast_of_each_row_is_checked(page: Page) -> None:
    page.set_content(PALE % "".join(ROW % number for number in range(1, 5)))
    broken = broken_rules(page)
    assert len([one for one in broken if "color-contrast" in one]) == 2 * 4
    assert [one for one in broken if "row 4" in one]
