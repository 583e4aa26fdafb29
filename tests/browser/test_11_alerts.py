"""Items 11 and 12, alerts: an address to copy, a text read field by field, the test, its log."""

import re

from playwright.sync_api import Page, expect

from tests.browser.acts import (
    PASSWORD,
    WORKER_MS,
    confirm,
    expect_in_order,
    fill,
    follow,
    press,
)
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import (
    create_private_feed,
    first_position,
    mid_price,
    ready_to_trade,
    shown,
)
from tests.browser.visits import Device, Visit


def new_address(page: Page, slug: str) -> str:
    """Create an address for alerts and copy it with its button."""
    page.goto(f"/publishing/{slug}/")
    follow(page, "Alerts")
    follow(page, "New address…")
    fill(page, name="TradingView")
    page.locator("#confirm-button").click()
    shown = page.locator("#address").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the address").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == shown
    return shown


@ITEM_DEVICES
def test_a_text_is_read_field_by_field_then_sent_to_the_endpoint(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    slug = ready_to_trade(page, trader)
    price = mid_price(page)
    address = new_address(page, slug)
    expect_in_order(visit, "alert-address")
    follow(page, "I have copied it")
    # what could mean two things is refused with both meanings
    fill(page, text="BUY EURUSD @ 1,385 SL 1,375")
    press(page, "Read it")
    expect(page.locator("#result")).to_contain_text("It would be refused")
    text = f"BUY EURUSD now SL {price - 0.01:.4f} TP1 {price + 0.02:.4f}"
    fill(page, text=text)
    press(page, "Read it")
    result = page.locator("#result")
    expect(result).to_contain_text("EUR/USD")
    expect(result).to_contain_text(shown(price - 0.01))
    expect(result.get_by_role("columnheader", name="Understood as")).to_be_visible()
    expect(page.locator("tbody tr").filter(has_text="TradingView")).to_be_visible()
    expect(page.get_by_role("button", name="Copy the message").first).to_be_visible()
    expect_in_order(visit, "alerts")

    answers = [
        page.context.request.post(address, data=text, headers={"Content-Type": "text/plain"})
        for _ in range(2)  # TradingView sends an alert again if no answer came
    ]
    assert all(answer.ok for answer in answers)
    page.goto(f"/feeds/{slug}/alerts/log/")
    log = page.locator("#live tbody")
    expect(log).to_contain_text("Sent to 1 account", timeout=WORKER_MS)
    refused = page.context.request.post(
        address, data="maybe buy something", headers={"Content-Type": "text/plain"}
    )
    assert refused.status in (200, 202, 400, 422)
    expect(log).to_contain_text("NOT_UNDERSTOOD", timeout=WORKER_MS)
    expect_in_order(visit, "alert-log")
    first_position(page)
    expect(page.locator("#live tbody tr")).to_have_count(1)


@ITEM_DEVICES
@looks_at("portal:alert_address_replace", "portal:alert_address_revoke")
def test_while_an_address_replaces_another_both_work(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    slug = create_private_feed(page, f"Renewed {newcomer}")
    old = new_address(page, slug)
    follow(page, "I have copied it")
    follow(page, "Replace…")
    expect(page.locator("[name=overlap]")).to_have_value("24")
    expect_in_order(visit, "alert-address-replace")
    page.locator("#confirm-button").click()
    new = page.locator("#address").inner_text()
    assert new != old

    def is_taken(address: str, stop: str) -> bool:
        text = f"BUY EURUSD now SL {stop}"
        plain = {"Content-Type": "text/plain"}
        return page.context.request.post(address, data=text, headers=plain).ok

    assert [is_taken(old, "1.3700"), is_taken(new, "1.3690")] == [True, True]
    page.goto(f"/feeds/{slug}/alerts/log/")
    expect(page.locator("#live tbody tr")).to_have_count(2, timeout=WORKER_MS)
    page.goto(f"/feeds/{slug}/alerts/")
    rows = page.locator("section:has(#h-addresses) tbody tr")
    expect(rows).to_have_count(2)
    ends = rows.locator("[data-l=Ends]")
    expect(ends.filter(has_text=re.compile(r"\d{4}"))).to_have_count(1)  # the old one, tomorrow
    follow(page, "Revoke…", inside="tr:has([data-l=Ends]:text-matches('[0-9]{4}'))")
    expect_in_order(visit, "alert-address-revoke")
    confirm(page)
    assert [is_taken(old, "1.3680"), is_taken(new, "1.3670")] == [False, True]


@ITEM_DEVICES
def test_own_words_are_mapped(visit: Visit, device: Device, trader: str) -> None:
    page = visit.page
    slug = ready_to_trade(page, trader)
    page.goto(f"/feeds/{slug}/alerts/")
    follow(page, "Your own words and fields…")
    expect_in_order(visit, "alert-mapping")
    fill(page, sides="compra = BUY")
    page.locator("#main form button[type=submit]").last.click()
    page.goto(f"/feeds/{slug}/alerts/")
    fill(page, text="compra EURUSD now SL 1.3700")
    press(page, "Read it")
    expect(page.locator("#result")).to_contain_text("BUY")
