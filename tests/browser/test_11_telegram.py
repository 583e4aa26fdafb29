"""Item 11: a Telegram bot as a source: its token, a channel that is accepted, and refused again.

Telegram itself is not asked: what its answers do is tested with tests/fakes/telegram.
"""

from playwright.sync_api import expect

from tests.browser.acts import PASSWORD, confirm, expect_in_order, fill, follow
from tests.browser.database import DemoDatabase
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import create_private_feed
from tests.browser.visits import Device, Visit

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@ITEM_DEVICES
@looks_at(
    "portal:telegram", "portal:telegram_token", "portal:telegram_chat",
    "portal:telegram_chat_end", "portal:telegram_forwarding", "portal:telegram_remove",
)  # fmt: skip
def test_a_bot_is_connected_and_a_channel_accepted_then_refused(
    visit: Visit, device: Device, newcomer: str, database: DemoDatabase
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    slug = create_private_feed(page, f"Bot {newcomer}")
    telegram = f"/feeds/{slug}/alerts/telegram/"
    page.goto(f"{telegram}token/")
    expect_in_order(visit, "telegram-token")
    fill(page, token=TOKEN)
    confirm(page)
    expect(page.get_by_text("The token is stored and being tested.")).to_be_visible()
    database.find_telegram_channel(slug)
    page.goto(telegram)
    channel = page.locator("section:has(#h-chats) tbody tr")
    expect(channel).to_contain_text("Refused")
    expect_in_order(visit, "telegram")
    follow(page, "Accept", inside="section:has(#h-chats)")
    expect_in_order(visit, "telegram-accept")
    confirm(page)
    expect(channel).to_contain_text("Accepted")
    follow(page, "Refuse", inside="section:has(#h-chats)")
    expect_in_order(visit, "telegram-refuse")
    confirm(page)
    expect(channel).to_contain_text("Refused")
    for act in ("forwarding", "remove"):
        page.goto(f"{telegram}{act}/")
        expect_in_order(visit, f"telegram-{act}")
    confirm(page)
    expect(page.get_by_role("heading", name="Chats")).to_have_count(0)
