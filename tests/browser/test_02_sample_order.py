"""A newcomer tries the whole way: a sample order by one button, closed by another one."""

from playwright.sync_api import expect

from tests.browser.acts import expect_in_order, press
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import FILL_MS, use_preset
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
@looks_at("portal:account_sample")
def test_sample_order_is_placed_filled_and_closed(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    account = page.url
    use_preset(page)
    page.goto(account)
    press(page, "Place a sample order")
    expect(page.get_by_text("The sample order is placed: buy")).to_be_visible()
    expect(page.get_by_text("Filled, open")).to_be_visible(timeout=FILL_MS)
    expect(page.get_by_role("button", name="Place the sample order")).to_have_count(0)
    expect_in_order(visit, "sample-order-open")
    press(page, "Close it now")
    expect(page.get_by_text("Filled and closed")).to_be_visible(timeout=FILL_MS)
    expect(page.get_by_role("button", name="Close it now")).to_have_count(0)
    expect_in_order(visit, "sample-order-closed")
