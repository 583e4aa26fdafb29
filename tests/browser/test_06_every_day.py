"""Item 6, every day: levels, break-even, trailing, partial close, close all, working orders."""

import re

from playwright.sync_api import Page, expect

from tests.browser.acts import (
    expect_heading,
    expect_in_order,
    fill,
    follow,
    go_to_account,
    press,
)
from tests.browser.database import DemoDatabase
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import (
    FILL_MS,
    mid_price,
    open_trade,
    ready_to_trade,
    shown,
    with_position,
)
from tests.browser.visits import Device, Visit


def ask_and_do(page: Page, sends: str | re.Pattern[str], button: str) -> None:
    """Look at what would be sent, then do it."""
    press(page, "Show what will be sent")
    expect(page.locator("#live")).to_contain_text(sends)
    press(page, button)


PAIRS = {"desktop": "GBP/USD", "phone-dark": "AUD/USD"}


@ITEM_DEVICES
@looks_at(
    "portal:position", "portal:position_levels", "portal:position_break_even",
    "portal:position_trailing", "portal:position_close_part", "portal:close", "portal:close_all",
)  # fmt: skip
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
    expect_in_order(visit, "position-trailing")
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

    follow(page, "Close…", inside=".fc-head")
    expect_in_order(visit, "close")
    page.goto("/positions/")
    follow(page, "Close all…")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Close")
    expect_in_order(visit, "close-all")
    page.locator("#confirm-button").click()
    expect(page.get_by_role("heading", name="No open positions")).to_be_visible(timeout=FILL_MS)


@ITEM_DEVICES
@looks_at("portal:end_all", "portal:position", "portal:scoped_action")
def test_a_stop_goes_to_break_even_and_what_is_chosen_is_closed(
    visit: Visit, device: Device, trader: str, database: DemoDatabase
) -> None:
    page = visit.page
    pair = PAIRS[device.name]  # the broker has one price of a pair: no other test trades it
    prices = f"Prices of {trader}"
    database.add_price_source(trader, prices, {pair: ("1.68000", "1.68002")})
    go_to_account(page)
    follow(page, "Edit")
    page.locator("[name=data_connection]").select_option(label=prices)
    press(page, "Save")
    slug = ready_to_trade(page, trader, preset="5,000 each")
    symbol = pair.replace("/", "")
    open_trade(page, slug, symbol=symbol, sl="1.67000")
    open_trade(page, slug, symbol=symbol, side="SELL", sl="1.69000")
    page.goto("/positions/")
    rows = page.locator("#live tbody tr")
    expect(rows).to_have_count(2, timeout=FILL_MS)

    database.move_prices(prices, {pair: ("1.68500", "1.68502")})
    with page.expect_navigation():
        rows.get_by_role("link", name=f"{pair} long").click()
    follow(page, "Break-even…")  # it needs nothing typed: it shows at once what will be sent
    expect(page.locator("#live")).to_contain_text("1.68002")
    press(page, "Move the stop")
    expect(page.get_by_text("The stop is at 1.68002")).to_be_visible()
    around = page.locator("section:has(h2:text-is('Orders around it'))")
    expect(around).to_contain_text("1.68002", timeout=FILL_MS)
    expect_in_order(visit, "position-at-break-even")
    page.goto("/positions/")
    follow(page, "Cancel or close…")
    page.get_by_label("What to do").select_option("BOTH")
    press(page, "Show what it touches")
    expect_in_order(visit, "cancel-or-close")
    press(page, "Cancel and close them")
    expect_heading(page, "Entries cancelled, positions closed")
    expect(page.locator("#main tbody tr")).to_have_count(2)
    expect_in_order(visit, "cancelled-and-closed")
    page.goto("/positions/")
    expect(page.get_by_role("heading", name="No open positions")).to_be_visible(timeout=FILL_MS)


@ITEM_DEVICES
@looks_at("portal:pause", "portal:resume")
def test_everything_is_paused_and_resumed(visit: Visit, device: Device, trader: str) -> None:
    page = visit.page
    page.goto("/pause/")
    expect_in_order(visit, "pause")
    press(page, "Pause 1 account")
    expect(page.get_by_role("region", name="You paused everything")).to_be_visible()
    follow(page, "Resume…")
    expect_in_order(visit, "resume")
    press(page, "Resume")
    expect(page.get_by_role("region", name="You paused everything")).to_be_hidden()


@ITEM_DEVICES
@looks_at(
    "portal:working_orders", "portal:order_cancel", "portal:order_change", "portal:cancel_all"
)
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
    expect(page.locator("#main")).to_contain_text(shown(price - 0.015))

    page.goto("/orders/")
    follow(page, re.compile("^Cancel…"))
    expect_in_order(visit, "order-cancel")
    page.locator("#confirm-button").click()
    page.goto("/orders/")
    expect(rows).to_have_count(1, timeout=FILL_MS)
    follow(page, "Cancel all…")
    expect_in_order(visit, "cancel-all")
    page.locator("#confirm-button").click()
    page.goto("/orders/")
    expect(page.get_by_role("heading", name="No working orders")).to_be_visible(timeout=FILL_MS)
