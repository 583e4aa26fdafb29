"""Item 6: what was done at the broker is shown as a difference, and its owner decides."""

from playwright.sync_api import expect

from tests.browser.acts import (
    confirm,
    expect_after_reloads,
    expect_in_order,
    fill,
    follow,
    go_to_account,
)
from tests.browser.database import DemoDatabase
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import FILL_MS
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
@looks_at(
    "portal:difference", "portal:difference_adopt", "portal:difference_relink",
    "portal:difference_close", "portal:difference_ignore",
)  # fmt: skip
def test_a_position_that_was_opened_at_the_broker_is_decided_upon(
    visit: Visit, device: Device, trader: str, database: DemoDatabase
) -> None:
    page = visit.page
    database.buy_at_broker(trader)
    go_to_account(page)  # accounts are compared all the time
    expect_after_reloads(page, page.get_by_role("link", name="Decide"))
    follow(page, "Decide")
    expect(page.get_by_text("It was opened at the broker.")).to_be_visible()
    expect_in_order(visit, "difference")
    address = page.url
    for decision in ("relink", "close", "ignore", "adopt"):
        page.goto(f"{address}{decision}/")
        expect_in_order(visit, f"difference-{decision}")
    fill(page, stop_loss="1.3000")
    confirm(page)
    expect(page.get_by_text("Decided and resolved.")).to_be_visible()
    page.goto("/positions/")
    row = page.locator("#live tbody tr")
    expect(row).to_contain_text("1,000", timeout=FILL_MS)
    expect(row).to_contain_text("1.3000")
    page.goto(address)
    expect(page.get_by_text("Resolved").first).to_be_visible(timeout=FILL_MS)
