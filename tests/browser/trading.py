"""A trader's and a provider's acts: preset, subscription, feed, signal."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.acts import expect_heading, fill, follow, press

FILL_MS = 180_000  # a worker sends it, the paper broker fills it


def use_preset(page: Page, name: str = "Standard 1 %") -> None:
    """Give the one account a shared preset."""
    page.goto("/presets/")
    follow(page, f"Assign {name}")
    press(page, "Use it")
    expect(page.get_by_text(f"uses {name}")).to_be_visible()


def create_private_feed(page: Page, name: str) -> str:
    """Create a feed for one's own accounts by the form; return its address."""
    page.goto("/publishing/")
    follow(page, "New feed")
    fill(page, name=name)
    page.get_by_label("Public").uncheck()
    press(page, "Create the feed")
    expect_heading(page, name)
    return page.url.rstrip("/").rpartition("/")[2]


def subscribe(page: Page, slug: str) -> None:
    """Subscribe the one account to a feed."""
    page.goto(f"/feeds/{slug}/subscribe/")
    press(page, "Subscribe")
    expect(page.get_by_text("Subscribed to")).to_be_visible()


def mid_price(page: Page) -> float:
    """Return the price of EUR/USD: the market's, as the example of a preset states it."""
    page.goto("/presets/new/")
    text = page.locator("#example").inner_text()
    return float(re.search(r"1\.\d{3,5}", text)[0])  # type: ignore[index]


def shown(price: float) -> str:
    """Return a price with four decimals as pages show it: `1.374`, without zeros at its end."""
    return f"{price:.4f}".rstrip("0")


def publish(page: Page) -> None:
    """From a filled form: look at what it reaches, then publish it."""
    press(page, "Show what it reaches")
    expect(page.locator("#confirm-button")).to_be_visible()
    with page.expect_navigation():
        page.locator("#confirm-button").click()


def open_trade(
    page: Page, slug: str, *, symbol: str = "EURUSD", side: str = "BUY", **values: str
) -> None:
    """Publish an entry at market in one's own feed."""
    page.goto(f"/publishing/{slug}/signals/new/open/")
    fill(page, symbol=symbol)
    page.locator("[name=direction]").select_option(side)
    fill(page, **values)
    publish(page)


def first_position(page: Page) -> Locator:
    """Wait for the first open position in the list, which follows by itself."""
    page.goto("/positions/")
    row = page.locator("#live tbody tr").first
    expect(row).to_be_visible(timeout=FILL_MS)
    return row


def ready_to_trade(page: Page, name: str, *, preset: str = "Standard 1 %") -> str:
    """Give a trader with a paper account a preset, a private feed and its subscription."""
    use_preset(page, preset)
    slug = create_private_feed(page, f"Feed of {name}")
    subscribe(page, slug)
    return slug


def open_both_sides(page: Page, trader: str) -> None:
    """Open a buy and a sell of as much EUR/USD, which cost the spread; go to the positions."""
    slug = ready_to_trade(page, trader, preset="5,000 each")
    price = mid_price(page)
    open_trade(page, slug, sl=f"{price - 0.01:.4f}")
    open_trade(page, slug, side="SELL", sl=f"{price + 0.01:.4f}")
    page.goto("/positions/")
    expect(page.locator("#live tbody tr")).to_have_count(2, timeout=FILL_MS)


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
