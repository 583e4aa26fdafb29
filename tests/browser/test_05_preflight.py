"""Item 5, preflight: replayed with progress, then the subscription, or why it is refused."""

from playwright.sync_api import expect

from tests.browser.acts import PASSWORD, WORKER_MS, expect_heading, expect_in_order, follow, press
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import use_preset
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
@looks_at("portal:subscribe")
def test_a_preflight_is_followed_to_its_result_and_subscribed(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    use_preset(page)
    page.goto("/feeds/?q=payrolls")
    follow(page, "Preflight", inside="section:has(h2:text-is('Payrolls'))")
    expect_heading(page, "What Payrolls would have done on Paper USD")
    expect(page.get_by_text("Not run yet")).to_be_visible()
    press(page, "Replay")
    expect(page.get_by_text("The preflight is running")).to_be_visible()
    found = page.locator("#preflight dl.fc-kpis")
    expect(found).to_be_visible(timeout=WORKER_MS)  # it appears by itself
    for figure in ("Would trade", "Denied", "Result", "Deepest drawdown", "Lost to rounding"):
        expect(found).to_contain_text(figure)
    expect(page.get_by_role("heading", name="What this does not cover")).to_be_visible()
    expect_in_order(visit, "preflight")
    follow(page, "Subscribe with these choices…")
    expect_in_order(visit, "subscribe")
    press(page, "Subscribe")
    expect(page.get_by_text("Subscribed to Payrolls from its next signal on")).to_be_visible()


@ITEM_DEVICES
def test_an_account_that_cannot_trade_is_refused_with_what_it_lacks(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page  # its account has no preset
    page.goto("/feeds/payrolls/subscribe/")
    press(page, "Subscribe")
    alarm = page.locator("[role=alert]").first
    expect(alarm).to_contain_text("Nothing was")
    expect(alarm).to_contain_text("preset")
    expect_in_order(visit, "subscribe-refused")


@ITEM_DEVICES
def test_without_an_account_the_next_step_is_offered(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/feeds/payrolls/preflight/")
    expect(page.get_by_role("heading", name="No account yet")).to_be_visible()
    follow(page, "Add an account", inside="#main")
    expect_heading(page, "Add an account")
