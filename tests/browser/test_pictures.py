"""The pictures of README and docs. PICTURES=docs/images makes them again; else var/screenshots."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import WORKER_MS, fill, follow, press
from tests.browser.trading import create_private_feed
from tests.browser.visits import DARK, DESKTOP, PHONE, SCREENSHOTS, Device, Visit

FOLDER = Path(os.environ.get("PICTURES") or SCREENSHOTS / "docs")
MOST_BYTES = 200_000
PROVIDER, FEED = "elena", "Elena’s majors"
TEXT = "BUY EURUSD now\nSL 1.3700\nTP1 1.3900 (50%)\nTP2 1.4000 (50%)"
on_desktop, in_the_dark, on_a_phone = (
    pytest.mark.parametrize("device", [device], ids=[device.name])
    for device in (DESKTOP, DARK, PHONE)
)


def keep(page: Page, name: str, height: int = 860) -> None:
    """Keep the top of the page as a picture that loads quickly."""
    width = page.viewport_size["width"]  # type: ignore[index]
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("document.activeElement.blur()")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    assert path.stat().st_size <= MOST_BYTES


@on_desktop
def test_overview(visit: Visit, device: Device) -> None:
    page = visit.sign_in()
    expect(page.get_by_role("heading", name="Open positions")).to_be_visible()
    keep(page, "overview")


@on_desktop
def test_signal(visit: Visit, device: Device) -> None:
    page = visit.sign_in()
    page.goto("/signals/")
    page.get_by_role("link", name="Buy EUR/USD market").last.click()
    expect(page.get_by_role("heading", name="What happened on my accounts")).to_be_visible()
    keep(page, "signal")


@in_the_dark
def test_position(visit: Visit, device: Device) -> None:
    page = visit.sign_in()
    page.goto("/positions/")
    page.locator("#live th a[href^='/positions/']").last.click()
    expect(page.get_by_role("heading", name="Orders around it")).to_be_visible()
    keep(page, "position")


@on_desktop
def test_preflight(visit: Visit, device: Device) -> None:
    page = visit.sign_in("karin")
    page.goto("/feeds/payrolls/preflight/")
    press(page, "Replay")
    expect(page.locator("#preflight dl.fc-kpis")).to_be_visible(timeout=WORKER_MS)
    keep(page, "preflight", height=1300)


@on_desktop
def test_record(visit: Visit, device: Device) -> None:
    page = visit.sign_in()
    page.goto("/feeds/payrolls/")
    expect(page.get_by_role("heading", name="By pair")).to_be_visible(timeout=WORKER_MS)
    keep(page, "record")


@on_a_phone
def test_alerts(visit: Visit, device: Device) -> None:
    page = visit.sign_in(PROVIDER)
    page.goto("/publishing/")
    if page.get_by_role("link", name=FEED).count():
        follow(page, FEED)
    else:
        create_private_feed(page, FEED)
    follow(page, "Alerts", inside=".fc-filters")
    fill(page, text=TEXT)
    press(page, "Read it")
    expect(page.locator("#result")).to_contain_text("EUR/USD")
    page.evaluate("document.querySelector('[aria-labelledby=h-test]').scrollIntoView()")
    keep(page, "alerts")
