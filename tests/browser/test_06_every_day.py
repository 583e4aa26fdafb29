"""Item 6, every day: levels, break-even, trailing, partial close, close all, working orders."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import expect_in_order, fill, follow, press
from tests.browser.trading import FILL_MS, first_position, mid_price, open_trade, ready_to_trade
from tests.browser.visits import DESKTOP, PHONE, Device, Visit

DEVICES = pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=lambda device: device.name)


def with_position(page: Page, trader: str) -> str:
    """Open a position of EUR/USD that is far from its levels; return its feed."""
    slug = ready_to_trade(page, trader)
    price = mid_price(page)
    open_trade(page, slug, sl=f"{price - 0.01:.4f}", target_prices=f"{price + 0.02:.4f}")
    first_position(page)
    with page.expect_navigation():
        page.locator("#live tbody th a").first.click()
    expect(page.get_by_text("The broker holds it").first).to_be_visible(timeout=FILL_MS)
    return slug


def ask_and_do(page: Page, sends: str | re.Pattern[str], button: str) -> None:
    """Look at what would be sent, then do it."""
    press(page, "Show what will be sent")
    expect(page.locator("#live")).to_contain_text(sends)
    press(page, button)


@DEVICES
def test_a_position_is_guarded_and_closed_in_parts(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    with_position(page, trader)
    address = page.url
    expect(page.locator("dl.fc-kpis")).to_contain_text("Without its stop")
    expect_in_order(visit, "position")
    stop = page.locator("tbody tr").first.locator("[data-l=Price]").inner_text()
    nearer = f"{float(stop) + 0.002:.3f}7"

    follow(page, "Move stop or target…")
    fill(page, stop_loss=nearer)
    press(page, "Show what will be sent")
    expect(page.locator("#live")).to_contain_text(nearer)
    expect_in_order(visit, "position-levels")
    press(page, "Move it")
    expect(page.get_by_text(f"The stop is {nearer}")).to_be_visible()

    follow(page, "Break-even…")  # the price is not beyond the entry yet: it says so
    press(page, "Show what will be sent")
    expect(page.locator("[role=alert]")).to_contain_text("Nothing was")
    expect_in_order(visit, "position-break-even")
    follow(page, "Back to the position")

    follow(page, "Trailing…")
    fill(page, distance="60")
    ask_and_do(page, "60", "Set it")
    expect(page.get_by_text("from now on")).to_be_visible()

    follow(page, "Close a part…")
    fill(page, amount="3000")
    press(page, "Show what will be sent")
    expect(page.locator("#live")).to_contain_text("3,000")
    expect_in_order(visit, "position-close-part")
    press(page, "Close this part")
    expect(page.get_by_text("The part is being closed")).to_be_visible()
    page.goto(address)
    part = re.compile(r"Open\s+(6|7),000 EUR\s+of (9|10),000")
    expect(page.locator("dl.fc-kpis")).to_contain_text(part, timeout=FILL_MS)  # by itself

    page.goto("/positions/")
    follow(page, "Close all…")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Close")
    expect_in_order(visit, "close-all")
    page.locator("#confirm-button").click()
    expect(page.get_by_role("heading", name="No open positions")).to_be_visible(timeout=FILL_MS)


@DEVICES
def test_working_orders_are_changed_and_cancelled(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    slug = ready_to_trade(page, trader)
    price = mid_price(page)
    for away in (0.01, 0.012):
        page.goto(f"/publishing/{slug}/signals/new/open/")
        page.locator("[name=order_type]").select_option("LIMIT")
        level = f"{price - away:.4f}"
        fill(page, symbol="EURUSD", open_price=level, sl=f"{price - 0.02:.4f}")
        press(page, "Show what it reaches")
        page.locator("#confirm-button").click()
        expect(page.get_by_text("is published to 1 account")).to_be_visible()
    page.goto("/orders/")
    rows = page.locator("#live tbody tr")
    expect(rows).to_have_count(2, timeout=FILL_MS)
    expect(rows.first).to_contain_text("pips")
    expect(page.get_by_role("link", name="Change…").first).to_be_visible(timeout=FILL_MS)
    expect_in_order(visit, "working-orders")

    follow(page, "Change…")
    field = page.locator("input[name*=price]:visible").first
    field.fill(f"{price - 0.015:.4f}")
    expect_in_order(visit, "order-change")
    page.locator("#confirm-button").click()
    expect(page.locator("#main")).to_contain_text(f"{price - 0.015:.4f}"[:6])

    page.goto("/orders/")
    follow(page, re.compile("^Cancel…"))
    expect_in_order(visit, "order-cancel")
    page.locator("#confirm-button").click()
    page.goto("/orders/")
    expect(rows).to_have_count(1, timeout=FILL_MS)
    follow(page, "Cancel all…")
    page.locator("#confirm-button").click()
    page.goto("/orders/")
    expect(page.get_by_role("heading", name="No working orders")).to_be_visible(timeout=FILL_MS)
