"""Item 10, providers: create a feed, ask for approval, draft, publish, modify, close, cancel."""

from playwright.sync_api import APIRequestContext, Browser, expect

from tests.browser.acts import (
    PASSWORD,
    another_browser,
    confirm,
    expect_heading,
    expect_in_order,
    fill,
    follow,
    press,
)
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import (
    FILL_MS,
    first_position,
    mid_price,
    publish,
    ready_to_trade,
    shown,
)
from tests.browser.visits import DESKTOP, OPERATOR, TENANT, Device, Visit, send_form


@ITEM_DEVICES
@looks_at("portal:publishing_approval", "portal:feed_terms")
def test_a_public_feed_is_approved_on_request(
    visit: Visit, device: Device, newcomer: str, browser: Browser, demo: str
) -> None:
    page, name = visit.arrive(newcomer, PASSWORD), f"Open {newcomer}"
    page.goto("/publishing/")
    expect(page.get_by_role("heading", name="You publish no feed yet")).to_be_visible()
    expect_in_order(visit, "publish-first")
    follow(page, "New feed")
    expect_in_order(visit, "feed-new")
    press(page, "Create the feed")  # without a name
    expect(page.locator("#main")).to_contain_text("Nothing was saved")
    fill(page, name=name)
    press(page, "Create the feed")
    follow(page, "Write them")
    fill(page, text="Ten euros a month. You may lose money.")
    press(page, "Save the terms")
    page.goto(f"/publishing/open-{newcomer}/")
    follow(page, "Ask for approval…")
    expect_in_order(visit, "approval")
    fill(page, text="Three years of record at another place.")
    page.locator("#main form button[type=submit]").last.click()
    expect(page.get_by_text("An operator decides")).to_be_visible()
    expect_in_order(visit, "approval-requested")
    with another_browser(browser, demo, DESKTOP) as operators:
        desk = operators.sign_in(OPERATOR)
        desk.goto("/admin/signals/feed/requests/")
        row = desk.locator("tbody tr").filter(has_text=name)
        row.get_by_role("link", name="Approve…").click()
        desk.locator("form button[type=submit]").last.click()
        expect(desk.locator("tbody tr").filter(has_text=name)).to_contain_text("ranted")
    expect(page.get_by_text("An operator decides")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Granted", exact=True)).to_be_visible()
    with another_browser(browser, demo, device) as follower:
        there = follower.sign_in(TENANT)
        there.goto(f"/feeds/?q={name}")
        follow(there, "read them", inside=f"section:has(h2:text-is('{name}'))")
        expect(there.locator("#main")).to_contain_text("Ten euros a month.")
        expect_in_order(follower, "terms-for-followers")


@ITEM_DEVICES
@looks_at(
    "portal:publishing_draft", "portal:publishing_draft_discard",
    "portal:publishing_draft_publish", "portal:publishing_signal",
    "portal:publishing_signal_publish",
)  # fmt: skip
def test_a_draft_is_discarded_and_another_waits_for_an_operator(
    visit: Visit, device: Device, newcomer: str, operators: APIRequestContext
) -> None:
    page, slug = visit.arrive(newcomer, PASSWORD), f"asks-{newcomer}"
    page.goto("/publish/new/")
    fill(page, name=f"Asks {newcomer}")
    press(page, "Create the feed")
    page.goto(f"/publishing/{slug}/signals/new/open/")
    fill(page, symbol="EURUSD", sl="1.3700")
    press(page, "Save as a draft")
    follow(page, "Edit")
    expect(page.locator("[name=sl]")).to_have_value("1.3700")
    expect_in_order(visit, "draft")
    page.goto(f"/publishing/{slug}/drafts/")
    follow(page, "Discard…")
    expect_in_order(visit, "draft-discard")
    confirm(page)
    expect(page.get_by_role("heading", name="No drafts")).to_be_visible()

    page.goto(f"/publishing/{slug}/signals/new/open/")
    fill(page, symbol="EURUSD", sl="1.3650")
    press(page, "Show what it reaches")
    expect_in_order(visit, "signal-for-approval")
    press(page, "Send it for approval")
    expect(page.get_by_text("An operator must approve it first")).to_be_visible()
    number = page.url.rstrip("/").rpartition("/")[2]
    send_form(operators, f"/admin/signals/signal/{number}/approve/")
    page.reload()
    expect_in_order(visit, "signal-approved")
    follow(page, "Publish…")
    expect_in_order(visit, "signal-publish")
    confirm(page)
    expect(page.get_by_text("is published to 0 accounts")).to_be_visible()


@ITEM_DEVICES
def test_signals_are_drafted_published_modified_closed(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    slug = ready_to_trade(page, trader)
    price = mid_price(page)
    page.goto(f"/publishing/{slug}/")
    follow(page, "New signal")
    expect_in_order(visit, "signal-choose")
    follow(page, "Write an entry")
    # a fault is shown beside its field, and what was typed stays
    fill(page, symbol="EURUSD", sl=f"{price + 0.01:.4f}")
    press(page, "Show what it reaches")
    expect(page.locator("[role=alert]")).to_contain_text("Nothing was sent or saved")
    expect(page.locator("[name=sl]")).to_have_value(f"{price + 0.01:.4f}")
    expect_in_order(visit, "signal-faults")
    fill(page, sl=f"{price - 0.01:.4f}", target_prices=f"{price + 0.02:.4f}")
    press(page, "Save as a draft")
    page.goto(f"/publishing/{slug}/drafts/")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect_in_order(visit, "drafts")
    follow(page, "Publish…")
    expect(page.locator("#live")).to_contain_text("1 account")
    expect_in_order(visit, "signal-reach")
    page.locator("#confirm-button").click()
    expect(page.get_by_text("is published to 1 account")).to_be_visible()
    first_position(page)

    page.goto(f"/publishing/{slug}/signals/new/")
    follow(page, "Modify…")
    fill(page, sl=f"{price - 0.008:.4f}")
    expect_in_order(visit, "signal-modify")
    publish(page)
    expect(page.locator("#main")).to_contain_text(shown(price - 0.008))
    expect(first_position(page)).to_contain_text(shown(price - 0.008), timeout=FILL_MS)

    page.goto(f"/publishing/{slug}/signals/new/")
    follow(page, "Close…")
    expect_in_order(visit, "signal-close")
    publish(page)
    page.goto("/positions/")
    expect(page.get_by_role("heading", name="No open positions")).to_be_visible(timeout=FILL_MS)
    page.goto(f"/publishing/{slug}/followers/")
    expect_heading(page, trader)
    expect_in_order(visit, "followers")


@ITEM_DEVICES
@looks_at("portal:publishing_signal_cancel")
def test_an_entry_that_waits_is_cancelled_by_its_provider(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    slug = ready_to_trade(page, trader)
    price = mid_price(page)
    page.goto(f"/publishing/{slug}/signals/new/open/")
    page.locator("[name=order_type]").select_option("LIMIT")
    fill(page, symbol="EURUSD", open_price=f"{price - 0.01:.4f}", sl=f"{price - 0.02:.4f}")
    publish(page)
    follow(page, "Cancel…")
    expect_in_order(visit, "signal-cancel")
    page.locator("#confirm-button").click()
    expect(page.locator("#main")).to_contain_text("Cancelled", timeout=FILL_MS)
    page.goto("/orders/")
    expect(page.get_by_role("heading", name="No working orders")).to_be_visible(timeout=FILL_MS)
