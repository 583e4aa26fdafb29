"""A tenant who has one of each thing that a page is about, made by the forms of the portal."""

from playwright.sync_api import Page, expect

from tests.browser.acts import fill, follow, press
from tests.browser.trading import create_private_feed
from tests.browser.visits import Visit

TENANT = "paula"
FEED = "One of each"


def sign_in_with_one_of_each(visit: Visit) -> Page:
    """Sign in as that tenant; what is missing is made."""
    page = visit.sign_in(TENANT)
    page.goto("/publishing/")
    if not page.get_by_role("link", name=FEED).count():
        _make(page)
    page.goto("/")
    return page


def _make(page: Page) -> None:
    slug = create_private_feed(page, FEED)
    _signal(page, slug)
    page.goto(f"/feeds/{slug}/alerts/addresses/new/")
    page.locator("#confirm-button").click()
    expect(page.locator("#address")).to_be_visible()
    page.goto("/presets/")
    follow(page, "Copy Standard 1 %")
    fill(page, name="Paula’s own")
    press(page, "Create it")
    page.goto("/keys/create/")
    fill(page, name="one of each")
    press(page, "Create the key")
    page.goto("/channels/create/email/")
    fill(page, name="one of each", mail_address="paula@example.com")
    press(page, "Create the channel")
    page.goto("/accounts/")
    # of an account that was read: one that never was shows no limits yet
    page.locator("tbody th a", has_not_text="wrong password").first.click()
    page.wait_for_load_state()
    page.goto(f"{page.url}loss-limit/")
    fill(page, maximum="50")
    page.locator("#confirm-button").click()
    expect(page.locator("#main")).to_contain_text("50")


def _signal(page: Page, slug: str) -> None:
    """Publish an entry that waits for its price, and keep a draft of another one."""
    page.goto(f"/feeds/{slug}/subscribe/")
    press(page, "Subscribe")
    for then in ("Show what it reaches", "Save as a draft"):
        page.goto(f"/publishing/{slug}/signals/new/open/")
        page.locator("[name=order_type]").select_option("LIMIT")
        fill(page, symbol="EURUSD", open_price="1.3600", sl="1.3500")
        press(page, then)
        if then != "Save as a draft":
            page.locator("#confirm-button").click()
            expect(page.locator("#main")).to_contain_text("is published")
