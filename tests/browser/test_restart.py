"""The portal stays open while its database restarts: it explains, and goes on automatically."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import RunningDemo
from tests.browser.database import DemoDatabase
from tests.browser.visits import Visit


@pytest.fixture
def database(running_demo: RunningDemo, visit: Visit) -> Iterator[DemoDatabase]:
    """The demo's database; answers of 503 while it is down are what this test is about."""
    yield DemoDatabase(running_demo.folder)
    visit.errors[:] = [error for error in visit.errors if "503" not in error]


def test_a_page_explains_and_goes_on_while_the_database_restarts(
    visit: Visit, database: DemoDatabase
) -> None:
    page = visit.sign_in()
    page.goto("/positions/")
    other = page.context.new_page()
    database.stop()
    try:
        expect(page.locator("#live > .fc-stale")).to_contain_text("No answer since", timeout=30_000)
        other.goto("/accounts/")
        expect(other.get_by_text("This page tries again automatically")).to_be_visible()
        expect(other.get_by_text("do not depend on this page")).to_be_visible()
        visit.screenshot("database-restarts")
    finally:
        database.start()
    expect(page.locator("#live > .fc-stale")).to_have_count(0, timeout=60_000)
    expect(other.get_by_role("heading", level=1)).to_have_text("Accounts", timeout=60_000)
