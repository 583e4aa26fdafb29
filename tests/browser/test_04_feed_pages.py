"""Item 4, feed pages: a feed's record, its proof, and its public page without sign-in."""

from playwright.sync_api import Browser, expect

from tests.browser.acts import (
    PASSWORD,
    another_browser,
    expect_heading,
    expect_in_order,
    fill,
    follow,
    press,
)
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.visits import Device, Visit

RECORD_MS = 180_000  # computed every 20 seconds in the demo


@ITEM_DEVICES
def test_a_record_is_computed_and_its_proof_is_checked(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    page.goto("/feeds/")
    fill(page, q="payr")
    press(page, "Show")
    follow(page, "Record", inside="section:has(h2:text-is('Payrolls'))")
    figures = page.locator("dl.fc-kpis")
    expect(figures).to_contain_text("Result at recorded prices", timeout=RECORD_MS)
    for figure in ("Largest drawdown", "Won", "Subscribers’ real fills", "Followers", "Marked"):
        expect(figures).to_contain_text(figure)
    for table in ("Result by day", "By month", "By pair", "By hour of publication, UTC"):
        expect(page.get_by_role("heading", name=table)).to_be_visible()
    expect_in_order(visit, "record")
    follow(page, "Proof of this record")
    expect(page.get_by_role("heading", name="Head of the chain")).to_be_visible()
    expect(page.get_by_text("Intact")).to_be_visible()
    expect(page.get_by_role("link", name="Download the signed statement")).to_be_visible()
    expect_in_order(visit, "record-proof")


@ITEM_DEVICES
@looks_at("portal:public_record", "portal:public_proof")
def test_a_record_is_shown_without_sign_in_if_its_owner_wants_it(
    visit: Visit, device: Device, newcomer: str, browser: Browser, demo: str
) -> None:
    page, slug = visit.arrive(newcomer, PASSWORD), f"shown-{newcomer}"
    page.goto("/publish/new/")
    fill(page, name=f"Shown {newcomer}")
    press(page, "Create the feed")
    with another_browser(browser, demo, device) as visitor:
        visitor.page.goto(f"/records/{slug}/")
        expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
        expect(visitor.page.get_by_text(newcomer)).to_have_count(0)
        expect_in_order(visitor, "record-not-public")
        page.goto(f"/feeds/{slug}/")
        press(page, "Show it to everybody")
        expect(page.get_by_text("Everybody can see this record")).to_be_visible()
        visitor.page.goto(f"/records/{slug}/")
        expect_heading(visitor.page, f"Shown {newcomer}")
        expect_in_order(visitor, "record-public")
        visitor.page.goto(f"/records/{slug}/proof/")
        expect_in_order(visitor, "record-public-proof")
