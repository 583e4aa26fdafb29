"""Item 5: a paper twin runs beside an account with real money, and both are compared."""

import csv

from playwright.sync_api import Page, expect

from tests.browser.acts import (
    PASSWORD,
    WORKER_MS,
    confirm,
    downloaded,
    expect_in_order,
    fill,
    follow,
    press,
)
from tests.browser.database import DemoDatabase
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import FILL_MS, mid_price, open_trade, ready_to_trade
from tests.browser.visits import Device, Visit


def add_bank_account(page: Page, database: DemoDatabase, owner: str) -> None:
    """Add an account whose money counts as real, and see its test pass."""
    database.open_bank_account(owner, f"bank-{owner}")
    page.goto("/accounts/add/")
    page.get_by_label("Broker", exact=True).select_option("bank")
    press(page, "Continue")
    fill(page, name="Savings", account=f"bank-{owner}")
    page.locator("[name=data_connection]").select_option(label="Payrolls, 2 May 2014")
    press(page, "Add the account")
    beside = page.locator("#test-beside")
    expect(beside.get_by_text("accepted")).to_be_visible(timeout=WORKER_MS)


@ITEM_DEVICES
@looks_at("portal:subscription_twin", "portal:subscription_twin_stop")
def test_a_twin_takes_the_same_signal_and_is_compared(
    visit: Visit, device: Device, newcomer: str, database: DemoDatabase
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    add_bank_account(page, database, newcomer)
    slug = ready_to_trade(page, newcomer)
    page.goto("/feeds/")
    follow(page, "Paper twin")
    expect(page.get_by_text("Nothing is sent to your broker.")).to_be_visible()
    expect_in_order(visit, "twin-offered")
    press(page, "Run a paper twin")
    twin = page.url
    expect(page.get_by_role("heading", name="No signal since")).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    follow(page, "Paper twin of Savings", inside="#live")
    expect(page.locator("#checks").get_by_text("accepted")).to_be_visible(timeout=WORKER_MS)

    open_trade(page, slug, sl=f"{mid_price(page) - 0.01:.4f}")
    page.goto(twin)
    signals = page.locator("section:has(#h-signals) tbody tr")
    expect(signals).to_have_count(1, timeout=FILL_MS)
    figures = page.locator("dl.fc-kpis")
    for side in ("Live, net", "Twin, net"):
        expect(figures.locator("div").filter(has_text=side)).to_contain_text(
            "1 of 1 signals traded", timeout=FILL_MS
        )
    expect(page.get_by_role("heading", name="Where the difference comes from")).to_be_visible()
    expect_in_order(visit, "twin-compared")
    with downloaded(page, "CSV") as content:
        assert len(list(csv.DictReader(content.decode("utf-8-sig").splitlines()))) == 1
    follow(page, "Stop the twin…")
    expect_in_order(visit, "twin-stop")
    confirm(page)
    expect(page.get_by_text("Ended", exact=True)).to_be_visible()
